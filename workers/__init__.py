"""The applying side: drains the lanes into Postgres."""
