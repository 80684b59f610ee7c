"""Websockets as callbacks: :mod:`connection` is the contract, :mod:`uvicorn_picows` one layer for it."""
