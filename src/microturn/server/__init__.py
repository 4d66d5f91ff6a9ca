"""Conversations over the network: wire dialects, transports, keys and limits, the journal, what is measured.

May import engine, background, streams, clock and events; nobody imports it. `conversation` is the room that the
dialects (`duplex`, `live`) and the transports (WebSocket in `app`, WebRTC in `rtc`) meet in; `lobby` opens,
resumes and forks conversations. The asyncio loop lives here, and never runs the engine.
"""
