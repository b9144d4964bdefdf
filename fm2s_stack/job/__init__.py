"""One job: settled, begun or continued, sealed. `pipeline` reads them from top to bottom."""
