"""Settings of the API."""

from pydantic import Field

from core.runtime.settings import KeySettings


class ApiSettings(KeySettings):
    """TERRITOIRE_API_PORT and so on, beside those of every service and the key-encryption key."""

    pool_size: int = Field(default=8, ge=1, le=50, description="Connections to the database")
    codec_workers: int = Field(default=1, ge=1, le=16, description="Processes for codecs that are tried")
    api_host: str = Field(default="127.0.0.1", description="Address to listen on; TLS ends in front of us")
    api_port: int = Field(default=8080, ge=0, le=65535, description="0: any port")
