"""A store by temperature: what opens it, and which of its draws and snapshots count."""
