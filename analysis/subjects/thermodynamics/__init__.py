"""Every observable against temperature, heat capacity and T*; two runs compared; a run as it goes on."""
