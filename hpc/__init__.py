"""The machine: ranks and collectives (world), rank -> GPU and threads (devices), when to stop (stop). No science."""
