"""The model of what people type: each command and its promise, any sequence of them, and what disturbs each."""
