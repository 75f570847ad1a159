"""A store by temperature: how it is opened, and which draws and snapshots count."""
