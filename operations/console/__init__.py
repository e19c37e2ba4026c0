"""The process for operators: the operations API, apart from the processes that serve connectors."""
