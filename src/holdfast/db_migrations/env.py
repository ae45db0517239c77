"""Alembic's entry: the connection is given by ``Database.upgrade``, or made from the URL."""

from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine

from holdfast.schema import metadata


def run(connection: object) -> None:
    """Run the revisions on one connection."""
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)  # type: ignore[arg-type]
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    import asyncio

    async def online() -> None:
        """Connect by the URL of the command line."""
        url = context.config.get_main_option("sqlalchemy.url") or ""
        async with create_async_engine(url).begin() as connection:
            await connection.run_sync(run)

    asyncio.run(online())
