"""The night: all stages one after the other, for a scheduler.

A night that stopped goes on where it stopped, one runs at a time per store, and what it
did can be read by people (a page), by programs (JSON lines) and by a watchdog (a
heartbeat file, and a command that gets the result).
"""
