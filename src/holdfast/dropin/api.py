"""Takes over what older tools kept, over HTTP."""

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from holdfast.dropin.importing import import_repositories
from holdfast.kernel.errors import Invalid
from holdfast.kernel.web.deps import ADMIN, ActorDep, ServicesDep
from holdfast.kernel.web.router import Router

router = Router(prefix="/api/import", tags=["import"])
FileText = Annotated[
    Any,  # checked here: a complaint of the framework's would repeat what was given
    WithJsonSchema({"type": "string", "description": "the content of repos.yml"}),
]


class RepositoriesIn(BaseModel):
    """The file in which baricadr names its repositories."""

    model_config = ConfigDict(extra="forbid")

    repos: FileText = ""


class ImportedOut(BaseModel):
    """What was made, or with ``dry_run`` would be."""

    dry_run: bool
    stores: list[dict[str, Any]]
    tiers: list[dict[str, Any]]
    there: list[dict[str, Any]] = Field(
        description="tiers that these folders were already: left as they are"
    )
    warnings: list[str]


@router.post("/baricadr", dependencies=[ADMIN])
async def import_baricadr(
    body: RepositoriesIn,
    services: ServicesDep,
    actor: ActorDep,
    *,
    dry_run: Annotated[bool, Query(description="true: check everything, make nothing")] = False,
) -> ImportedOut:
    """Make stores and tiers of baricadr's repositories; all of them, or nothing."""
    if not isinstance(body.repos, str):
        raise Invalid("repos is not the text of a repos.yml")
    made = await import_repositories(services, actor, body.repos, dry_run=dry_run)
    return ImportedOut(
        dry_run=dry_run,
        stores=made.stores,
        tiers=made.tiers,
        there=made.there,
        warnings=made.warnings,
    )
