"""What crosses the border of the gateway's API. Fields that are not named here are ignored."""

from typing import Annotated, Any, Literal, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
)

from holdfast.gateway.model import (
    CredentialsDraft,
    MemberDraft,
    NodeType,
    PoolDraft,
    RouteDraft,
    VhostDraft,
)
from holdfast.gateway.render_model import Balancing, BlockSpec, PoolType, Role, Zone

Id = Annotated[int, Field(ge=1, le=2**31 - 1)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[a-zA-Z0-9._-]+$")]
Text = Annotated[str, StringConstraints(max_length=65_536)]
Description = Annotated[str, StringConstraints(max_length=1000)]
Address = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
ServerName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=253)]
Prefix = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Port = Annotated[int, Field(ge=1, le=65535)]
NodeKey = Annotated[
    SecretStr, Field(max_length=1024), BeforeValidator(lambda key: "" if key is None else key)
]
"""A key of a node's set-up; null, which older clients send, is none."""


class Body(BaseModel):
    """A request's body."""

    def given(self) -> dict[str, Any]:
        """The fields that the caller named, without null ones that null does not clear."""
        return {name: getattr(self, name) for name in self.model_fields_set if self._says(name)}

    def _says(self, name: str) -> bool:
        return getattr(self, name) is not None


class PoolCreate(Body):
    """A new pool."""

    name: Name
    description: Text | None = None
    type: PoolType = "nanio"
    lb_method: Balancing = "least_conn"
    keepalive: int = Field(32, ge=0, le=1024)
    source_nanio_pool_id: Id | None = None

    def draft(self) -> PoolDraft:
        """The pool that is asked for."""
        return PoolDraft(**self.model_dump())


class PoolUpdate(Body):
    """Changes of a pool; null changes nothing, but clears ``source_nanio_pool_id``."""

    name: Name | None = None
    description: Text | None = None
    type: PoolType | None = None
    lb_method: Balancing | None = None
    keepalive: int | None = Field(None, ge=0, le=1024)
    source_nanio_pool_id: Id | None = None

    def _says(self, name: str) -> bool:
        return name == "source_nanio_pool_id" or super()._says(name)


class PoolOut(BaseModel):
    """A pool."""

    id: int
    name: str
    description: str | None
    type: str
    lb_method: str
    keepalive: int
    source_nanio_pool_id: int | None
    created_at: str | None
    updated_at: str | None


class MemberCreate(Body):
    """A new member of a pool."""

    address: Address
    role: Role | None = None
    weight: int = Field(1, ge=1, le=100)
    max_fails: int = Field(3, ge=0, le=100)
    fail_timeout_s: int = Field(30, ge=0, le=600)
    enabled: bool = True
    description: Description | None = None

    def draft(self) -> MemberDraft:
        """The member that is asked for."""
        return MemberDraft(**self.model_dump())


class MemberUpdate(Body):
    """Changes of a member; null changes nothing."""

    address: Address | None = None
    role: Role | None = None
    weight: int | None = Field(None, ge=1, le=100)
    max_fails: int | None = Field(None, ge=0, le=100)
    fail_timeout_s: int | None = Field(None, ge=0, le=600)
    enabled: bool | None = None
    description: Description | None = None


class MemberOut(BaseModel):
    """A member of a pool."""

    id: int
    pool_id: int
    address: str
    role: str
    weight: int
    max_fails: int
    fail_timeout_s: int
    enabled: bool
    description: str | None
    created_at: str | None
    updated_at: str | None


class CredentialsIn(Body):
    """The S3 keys of a pool."""

    access_key: SecretStr = Field(min_length=1, max_length=1024)
    secret_key: SecretStr = Field(min_length=1, max_length=1024)
    endpoint_url: Annotated[str, StringConstraints(max_length=1024)] | None = None
    region: Annotated[str, StringConstraints(min_length=1, max_length=64)] = "us-east-1"

    def draft(self) -> CredentialsDraft:
        """The credentials that are asked for."""
        return CredentialsDraft(
            access_key=self.access_key.get_secret_value(),
            secret_key=self.secret_key.get_secret_value(),
            endpoint_url=self.endpoint_url or None,
            region=self.region,
        )


class CredentialsOut(BaseModel):
    """What may be shown of a pool's credentials."""

    pool_id: int
    access_key_masked: str
    endpoint_url: str | None
    region: str
    source: Literal["pool", "global"]
    created_at: str | None
    updated_at: str | None


class NodeConfigIn(Body):
    """What a node's set-up is made from; the keys are used and not kept."""

    node_type: NodeType
    data_dir: Annotated[str, StringConstraints(max_length=1024)] = "/data"
    nanio_port: Port | None = None
    nanio_host: Annotated[str, StringConstraints(max_length=253)] = "0.0.0.0"  # noqa: S104 - of a server elsewhere
    nanio_region: Annotated[str, StringConstraints(max_length=64)] = "us-east-1"
    access_key: NodeKey = SecretStr("")
    secret_key: NodeKey = SecretStr("")


class NodeConfigQuery(BaseModel):
    """The same in a URL, as older clients send it."""

    type: str = "nanio-only"
    data_dir: Annotated[str, StringConstraints(max_length=1024)] = "/data"
    nanio_port: Port | None = None
    nanio_host: Annotated[str, StringConstraints(max_length=253)] = "0.0.0.0"  # noqa: S104 - of a server elsewhere
    nanio_region: Annotated[str, StringConstraints(max_length=64)] = "us-east-1"
    access_key: NodeKey = SecretStr("")
    secret_key: NodeKey = SecretStr("")

    def body(self) -> NodeConfigIn:
        """The body that asks for the same. ``type`` must be a known one."""
        fields = {name: getattr(self, name) for name in type(self).model_fields if name != "type"}
        return NodeConfigIn(node_type=cast("NodeType", self.type), **fields)


class FileOut(BaseModel):
    """A file to put on a node."""

    path: str
    content: str


class NodeConfigOut(BaseModel):
    """The files of a node, and what to do with them."""

    node_type: str
    member_address: str
    files: list[FileOut]
    instructions: str


class NodeConfigRowOut(BaseModel):
    """A set-up that was generated before."""

    id: int
    member_id: int
    node_type: str
    config_json: str
    generated_at: str | None


class MemberConfigsOut(BaseModel):
    """A member and its newest set-ups."""

    member: MemberOut
    recent_configs: list[NodeConfigRowOut]


class Block(BaseModel):
    """Raw nginx text in one zone of a vhost."""

    zone: Zone
    content: Annotated[str, StringConstraints(min_length=1, max_length=65_536)]

    def spec(self) -> BlockSpec:
        """The block for the renderer."""
        return BlockSpec(zone=self.zone, content=self.content)


class VhostCreate(Body):
    """A new vhost."""

    server_name: ServerName
    listen_port: Port = 443
    ssl: bool = True
    ssl_cert_path: Text | None = None
    ssl_key_path: Text | None = None
    extra_directives: Text | None = None
    extra_blocks: list[Block] | None = None
    enabled: bool = True
    description: Description | None = None
    default_pool_id: Id | None = None
    ip_rule_mode: Literal["allow", "deny"] | None = None
    ip_rule_ips: list[str] | None = None

    @field_validator("ip_rule_ips")
    @classmethod
    def _trim(cls, ips: list[str] | None) -> list[str] | None:
        return [ip.strip() for ip in ips] if ips is not None else None

    def draft(self) -> VhostDraft:
        """The vhost that is asked for."""
        return VhostDraft(
            **self.model_dump(exclude={"extra_blocks", "ip_rule_ips", "routes"}),
            extra_blocks=_blocks(self.extra_blocks),
            ip_rule_ips=tuple(self.ip_rule_ips) if self.ip_rule_ips else None,
        )


class VhostUpdate(Body):
    """Changes of a vhost; null only clears ``ip_rule_*``. Empty texts and lists clear."""

    server_name: ServerName | None = None
    listen_port: Port | None = None
    ssl: bool | None = None
    ssl_cert_path: Text | None = None
    ssl_key_path: Text | None = None
    extra_directives: Text | None = None
    extra_blocks: list[Block] | None = None
    enabled: bool | None = None
    description: Description | None = None
    default_pool_id: Id | None = None
    ip_rule_mode: Literal["allow", "deny"] | None = None
    ip_rule_ips: list[str] | None = None

    def _says(self, name: str) -> bool:
        return name in {"ip_rule_mode", "ip_rule_ips"} or super()._says(name)

    def given(self) -> dict[str, Any]:
        """The fields that change, as a draft has them."""
        changes = super().given()
        if "extra_blocks" in changes:
            changes["extra_blocks"] = _blocks(self.extra_blocks)
        if "ip_rule_ips" in changes:
            ips = self.ip_rule_ips
            changes["ip_rule_ips"] = tuple(ip.strip() for ip in ips) if ips else None
        return changes


class VhostOut(BaseModel):
    """A vhost."""

    id: int
    server_name: str
    listen_port: int
    ssl: bool
    ssl_cert_path: str | None
    ssl_key_path: str | None
    extra_directives: str | None
    extra_blocks: list[Block] | None
    enabled: bool
    description: str | None
    default_pool_id: int | None
    ip_rule_mode: str | None
    ip_rule_ips: list[str] | None
    created_at: str | None
    updated_at: str | None


class RouteCreate(Body):
    """A new route."""

    path_prefix: Prefix
    pool_id: Id
    key_prefix: Annotated[str, StringConstraints(max_length=1024)] | None = None
    extra_directives: Text | None = None
    enabled: bool = True
    description: Description | None = None

    def draft(self, vhost_id: int) -> RouteDraft:
        """The route that is asked for."""
        return RouteDraft(vhost_id=vhost_id, **self.model_dump())


class VhostDraftIn(VhostCreate):
    """A vhost with routes, to be looked at and not stored."""

    routes: list[RouteCreate] = Field(default_factory=list, max_length=10_000)


class RouteUpdate(Body):
    """Changes of a route; null changes nothing, an empty text clears."""

    path_prefix: Prefix | None = None
    pool_id: Id | None = None
    key_prefix: Annotated[str, StringConstraints(max_length=1024)] | None = None
    extra_directives: Text | None = None
    enabled: bool | None = None
    description: Description | None = None
    allow_orphan: bool = False
    """Switch a bucket's pool at once and leave its objects behind on the old one."""

    def given(self) -> dict[str, Any]:
        """The fields of the route that change."""
        return {name: value for name, value in super().given().items() if name != "allow_orphan"}


class RouteOut(BaseModel):
    """A route."""

    id: int
    vhost_id: int
    path_prefix: str
    pool_id: int
    pool_name: str
    key_prefix: str | None
    extra_directives: str | None
    enabled: bool
    description: str | None
    created_at: str | None
    updated_at: str | None
    migration_id: int | None


class RouteCreated(RouteOut):
    """A route that was just made."""

    bucket: str
    bucket_provisioned: Literal[False] = False
    default_pool_id: int | None


class PreviewOut(BaseModel):
    """A file as it would be written."""

    filepath: str
    content: str | None


def _blocks(blocks: list[Block] | None) -> tuple[BlockSpec, ...] | None:
    return tuple(block.spec() for block in blocks) if blocks else None
