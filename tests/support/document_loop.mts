const baseUrl = process.env.INSPIRE_BASE_URL!
const ingestKey = process.env.INSPIRE_INGEST_KEY!
const headers = {
  Authorization: `Bearer ${ingestKey}`,
  'Content-Type': 'application/json',
}
await fetch(`${baseUrl}/api/connector/config`, { headers })
await fetch(`${baseUrl}/api/ingest`, {
  method: 'POST',
  headers,
  body: JSON.stringify({
    stream: 'agents',
    items: [
      {
        id: 'agent-1001',
        name: 'Alice Smith',
        fields: {
          state: 'Ready',
          queue: 'Sales',
          callsHandled: '14',
        },
      },
    ],
  }),
})
