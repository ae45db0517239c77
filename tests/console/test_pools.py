"""Forms and dialogs of pools in a browser: what needs its script."""

from playwright.async_api import expect

from tests.console.browser import Console


async def test_a_pool_is_tried_copied_made_and_deleted(console: Console) -> None:
    page = console.page
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await console.go("/web/pools/new")
    await page.get_by_label("Name", exact=True).fill("by-hand")
    await page.get_by_label("Comment").fill("two words")
    await page.get_by_role("button", name="Preview and test").click()
    await expect(page.locator("#trial")).to_contain_text("upstream by-hand {")
    await console.check()

    await page.locator("form.form details.menu summary").first.click()
    await page.get_by_role("button", name="Copy as CLI").click()
    await expect(page.locator("#flash")).to_contain_text("Copied")
    copied = await page.evaluate("() => navigator.clipboard.readText()")
    assert copied.startswith("holdfast pool create by-hand --type nanio")
    assert "--description 'two words'" in copied

    await page.get_by_role("button", name="Create pool").click()
    await expect(page.get_by_role("heading", level=1, name="by-hand")).to_be_focused()
    await page.get_by_role("button", name="Delete", exact=True).click()
    await console.check()
    dialog = page.get_by_role("dialog", name="Delete pool by-hand?")
    sure = dialog.get_by_role("button", name="Delete the pool")
    await expect(sure).to_be_disabled()
    await dialog.get_by_label("Type by-hand to confirm").fill("by-hand")
    await sure.click()
    await expect(page.locator("#flash")).to_contain_text("Pool by-hand is deleted")


async def test_members_are_chosen_and_switched(console: Console) -> None:
    page = console.page
    await console.go("/web/pools/new")
    await page.get_by_label("Name", exact=True).fill("many")
    await page.get_by_role("button", name="Create pool").click()
    for port in ("9001", "9002", "9003"):
        await page.get_by_role("link", name="Add a member").click()
        await page.get_by_label("Address").fill(f"127.0.0.1:{port}")
        await page.get_by_role("button", name="Add the member").click()
        await expect(page.locator("#member-rows")).to_contain_text(port)
    for row in (0, 1):
        await page.locator("#member-rows tbody input[type=checkbox]").nth(row).check()
    await page.locator("#members-chosen").get_by_role("button", name="Disable").click()
    await expect(page.get_by_text("2 members disabled")).to_be_visible(timeout=15_000)
    await expect(page.locator("#flash")).to_have_count(1)
    await page.get_by_role("button", name="Disable", exact=True).first.click()
    await expect(page.get_by_role("dialog")).to_contain_text("the pool answers 502")
    await console.check()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await page.get_by_label("Select all shown").check()
    await page.locator("#members-chosen").get_by_role("button", name="Enable").click()
    await expect(page.locator("#member-rows")).not_to_contain_text("disabled")


async def test_a_wrong_field_has_the_focus_and_its_words(console: Console) -> None:
    page = console.page
    await console.go("/web/pools/new")
    await page.get_by_label("Name", exact=True).fill("no blanks here")
    await page.get_by_role("button", name="Create pool").click()
    field = page.get_by_label("Name", exact=True)
    await expect(field).to_have_attribute("aria-invalid", "true")
    await expect(field).to_be_focused()
    await expect(field).to_have_value("no blanks here")
    await console.check()
