"""What the layer takes for granted of uvicorn, so that a new version that changes it is noticed."""

import uvicorn
import uvicorn.config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from serve_app.client_address import ClientAddresses
from serve_app.websocket import uvicorn_picows


def loaded():
    """Serve passes neither ``ws`` nor ``http``."""
    config = uvicorn.Config(lambda: None, factory=True, lifespan="off", log_config=None)
    config.load()
    return config.ws_protocol_class, config.http_protocol_class


def test_uvicorn_chooses_the_sansio_layer_and_httptools_by_itself():
    assert loaded() == (WebSocketsSansIOProtocol, HttpToolsProtocol)


def test_the_layer_is_what_it_chooses_once_installed(monkeypatch):
    for table in (uvicorn.config.WS_PROTOCOLS, uvicorn.config.HTTP_PROTOCOLS):
        monkeypatch.setitem(table, "auto", table["auto"])
    uvicorn_picows.install(ClientAddresses())
    assert loaded() == (uvicorn_picows.CallbackProtocol, uvicorn_picows.PacedHttpProtocol)
