"""Pages of stores: ``/web/stores``."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.errors import AppError, Invalid
from holdfast.kernel.services import Services
from holdfast.kernel.stores import checking, page_queries, service
from holdfast.kernel.stores.hub import RcloneHub
from holdfast.kernel.stores.kinds import StoreDraft
from holdfast.kernel.stores.page_fields import (
    KINDS,
    StoreForm,
    offered_kinds,
    option_values,
    options_sent,
    store_fields,
    without_secrets,
)
from holdfast.kernel.stores.service import ShownStore, StoreChanges
from holdfast.kernel.stores.tables import StoreRow, store_page
from holdfast.kernel.web.console.formats import shell_word
from holdfast.kernel.web.console.forms import Form, check_typed, typed_name
from holdfast.kernel.web.console.listing import listing
from holdfast.kernel.web.console.registry import Hit, NavItem, Need, console_parts
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.console.versions import check_unchanged, version_of
from holdfast.kernel.web.deps import ADMIN, OPERATOR, ActorDep, ReadDep, ServicesDep
from holdfast.kernel.web.router import Router
from holdfast.kernel.work import Actor, Role

router = Router(include_in_schema=False, prefix="/web/stores")
BOTH = ["GET", "POST"]
FOUND = 6
NEEDS_SHOWN = 5
_STATES = (
    ("reached", "reached"),
    ("not-reached", "not reached"),
    ("not-checked", "not checked"),
)


def contribute(services: Services) -> None:
    """Navigation, search, and stores that cannot be reached on the overview."""
    parts = console_parts(services)
    parts.templates["stores"] = "holdfast.kernel.stores"
    parts.topics.append("store")
    parts.nav.append(
        NavItem(title="Stores", href="/web/stores", icon="stores", group="Data", order=54)
    )
    parts.actions.append(
        Hit(title="New store", href="/web/stores/new", kind="action", role=Role.ADMIN)
    )
    parts.searchers.append(_find)
    parts.needs.append(_needs)


@router.get("")
async def list_stores(request: Request, session: ReadDep, services: ServicesDep) -> Response:
    """Stores, searched by name and place, sorted, in pages."""
    asked = listing(request, sorts=tuple(page_queries.SORTS), filters=("kind", "state"))
    rows, total = await page_queries.store_lines(session, asked)
    kinds = [(kind, kind) for kind in await page_queries.kinds_in_use(session)]
    return await page(
        request,
        "stores/stores.html.j2",
        list=asked,
        rows=[(row, place_words(service.shown_store(services, row))) for row in rows],
        total=total,
        choices=[("kind", "Kind", kinds), ("state", "Last check", _STATES)],
    )


@router.api_route("/new", methods=BOTH, dependencies=[ADMIN])
async def new_store(request: Request, services: ServicesDep, actor: ActorDep) -> Response:
    """First the kind, then its fields."""
    kind = request.query_params.get("kind", "")
    daemon = services.get(RcloneHub).daemon
    if not kind or kind == "other":
        others = offered_kinds(await daemon.kinds()) if kind else []
        return await page(request, "stores/store_kind.html.j2", kinds=KINDS, others=others)
    known = await daemon.options(kind)
    form = Form(store_fields(kind, known, None))
    if request.method == "POST":
        body = await form.read(request, StoreForm)
        if body is not None:
            options = options_sent(form.fields, form.values)
            given = {name: value for name, value in options.items() if value is not None}
            draft = StoreDraft(
                name=body.name,
                kind=kind,
                root=body.root,
                options=given,
                description=body.description,
            )
            try:
                made, advice = await service.create_store(services, actor, draft)
            except AppError as error:
                form.refuse(error)
            else:
                told = f"Store {made.name} is made. Now check it."
                return see_other(f"/web/stores/{made.id}", told=told, warning=advice)
    return await _form_page(
        request,
        form,
        title=f"New store: {_kind_words(kind)}",
        action=f"/web/stores/new?kind={kind}",
        back="/web/stores",
        submit="Create store",
        api=("POST", "/api/stores"),
        cli="store create",
    )


@router.api_route("/{store}/edit", methods=BOTH, dependencies=[ADMIN])
async def edit_store(
    request: Request, store: str, session: ReadDep, services: ServicesDep, actor: ActorDep
) -> Response:
    """A form for what a store is; its kind stays."""
    shown = service.shown_store(services, await service.get_store(session, store))
    await session.close()
    known = await services.get(RcloneHub).daemon.options(shown.kind)
    values = option_values(shown)
    form = Form(store_fields(shown.kind, known, shown), values, version=version_of(values))
    if request.method == "POST":
        body = await form.read(request, StoreForm)
        if body is not None:
            sent = options_sent(form.fields, form.values, shown.sealed)
            changes = StoreChanges(
                name=body.name, root=body.root, options=sent, description=body.description
            )
            try:
                await check_unchanged(session, form, values, kind="store", number=shown.id)
                _, advice = await service.update_store(services, actor, shown.id, changes)
            except AppError as error:
                form.refuse(error)
            else:
                told = f"Store {body.name} is saved."
                return see_other(f"/web/stores/{shown.id}", told=told, warning=advice)
    return await _form_page(
        request,
        form,
        title=f"Edit {shown.name}",
        action=form.address(f"/web/stores/{shown.id}/edit"),
        back=f"/web/stores/{shown.id}",
        submit="Save",
        api=("PUT", f"/api/stores/{shown.id}"),
        cli=f"store update {shell_word(shown.name)}",
        crumbs=(shown.name, f"/web/stores/{shown.id}"),
    )


@router.get("/{store}")
async def show_store(
    request: Request, store: str, session: ReadDep, services: ServicesDep, actor: ActorDep
) -> Response:
    """One store. ``?check=keys``: with the keys that its host shows now."""
    row = await service.get_store(session, store)
    users = await service.used_by(session, services, row.id)
    shown = service.shown_store(services, row)
    await session.close()
    asks = request.query_params.get("check") == "keys" and row.kind == "sftp"
    keys, problem = await _keys(services, actor, row) if asks else (None, None)
    return await page(
        request,
        "stores/store.html.j2",
        store=shown,
        place=place_words(shown),
        kind_words=_kind_words(shown.kind),
        row=row,
        told=json.loads(row.check_told),
        users=[(words, _address(words)) for words in users],
        keys=keys,
        problem=problem,
        links=console_parts(services).links.get("store", []),
    )


@router.post("/{store}/check", dependencies=[OPERATOR])
async def check_store(store: str, services: ServicesDep, actor: ActorDep) -> Response:
    """Reach it and list it; what comes of that is on its page."""
    async with services.database.read() as session:
        row = await service.get_store(session, store)
    back = f"/web/stores/{row.id}"
    try:
        found = await checking.check_store(services, actor, row.id)
    except AppError as error:
        return see_other(back, warning=error.message)
    trusted = " The keys of its host are trusted from now on." if found.newly_trusted else ""
    return see_other(back, told=f"Store {row.name} is reached.{trusted}")


@router.post("/{store}/trust", dependencies=[ADMIN])
async def trust(request: Request, store: str, services: ServicesDep, actor: ActorDep) -> Response:
    """Trust the key whose fingerprint was typed, in place of those trusted before."""
    typed = (await typed_name(request)).strip()
    if not typed:
        raise Invalid("no fingerprint was typed", hint="type it with SHA256: before it")
    await checking.trust_host_key(services, actor, store, typed)
    return see_other(f"/web/stores/{store}", told="The key is trusted. Now check the store.")


@router.post("/{store}/delete", dependencies=[ADMIN])
async def delete_store(
    request: Request, store: str, services: ServicesDep, actor: ActorDep
) -> Response:
    """Forget a store whose name was typed."""
    typed = await typed_name(request)
    async with services.database.write(actor) as work:
        row = await service.get_store(work.session, store)
        check_typed(typed, row.name, "store")
        name = row.name
        await service.delete_store(work, services, row.id)
    return see_other("/web/stores", told=f"Store {name} is deleted; what lies on it stays.")


def place_words(shown: ShownStore) -> str:
    """Where a store is, in one line."""
    options = shown.options
    match shown.kind:
        case "s3":
            return f"{options.get('endpoint', '')}/{shown.root}"
        case "sftp":
            port = f":{options['port']}" if "port" in options else ""
            return f"{options.get('user', '')}@{options.get('host', '')}{port}:{shown.root}"
        case _:
            place = options.get("url") or options.get("host") or ""
            return " ".join(part for part in (place, shown.root) if part) or "its top"


async def _keys(
    services: Services, actor: Actor, row: StoreRow
) -> tuple[checking.HostKeys | None, AppError | None]:
    if actor.role < Role.ADMIN:
        return None, None
    try:
        _, keys = await checking.host_keys_of(services, row.id)
    except AppError as error:
        return None, error
    return keys, None


async def _form_page(request: Request, form: Form, **words: Any) -> Response:  # noqa: ANN401 - of the template
    without_secrets(form.fields, form.values)
    return await page(
        request,
        "stores/store_form.html.j2",
        status=form.status,
        form=form,
        **{"crumbs": None, **words},
    )


def _kind_words(kind: str) -> str:
    return next((words for name, words, _ in KINDS if name == kind), kind)


def _address(words: str) -> str:
    """Where what uses a store is found."""
    _, _, name = words.partition(" ")
    return f"/web/search?{urlencode({'q': name})}"


async def _find(services: Services, session: AsyncSession, words: str) -> Sequence[Hit]:
    rows, _ = await store_page(session, limit=FOUND, offset=0, words=words)
    return [
        Hit(
            title=row.name,
            href=f"/web/stores/{row.id}",
            kind="store",
            detail=place_words(service.shown_store(services, row)),
        )
        for row in rows
    ]


async def _needs(_: Services, session: AsyncSession) -> Sequence[Need]:
    return [
        Need(
            title=f"Store {row.name} cannot be reached",
            detail=json.loads(row.check_told).get("message", ""),
            href=f"/web/stores/{row.id}",
            action="Look at it",
            level="bad",
            topic="store",
        )
        for row in await page_queries.not_reached(session, limit=NEEDS_SHOWN)
    ]
