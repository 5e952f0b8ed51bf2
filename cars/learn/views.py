"""The pages below /learn/."""

from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.contrib.admin.views.decorators import staff_member_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from . import lot, pages, proofs, recorded
from .cases import CASES
from .forms import LabForm
from .lab import Unavailable
from .lab import lab as process
from .picture import picture_of, source_of
from .process import Answer, Question
from .scenarios import HERE, RECIPES, RULE_CASES
from .shown import without_name

FIRST = {"recipe": "set-on-save", "case": "save-read"}  # what the lab opens with
HINT_SECONDS = 0.5  # that the search for a hint may take
PAGE_OF_LOT = "what-signals-miss"
PRICES = "prices of the lot"  # in the session: what the last run on the lot has shown


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Show the index of the tutorial: its pages, and the questions that they answer."""
    return render(request, "learn/index.html", {"text": pages.index(), "pages": pages.pages()})


@require_safe
def page(request: HttpRequest, slug: str) -> HttpResponse:
    """Show a page of the tutorial."""
    everything = pages.pages()
    try:
        here = pages.page(slug)
    except KeyError:
        raise Http404(f"There is no page {slug!r} in the tutorial.") from None
    before, after = here.number - 2, here.number
    return render(
        request,
        "learn/page.html",
        {
            "text": here.text(),
            "page": here,
            "pages": everything,
            "previous": everything[before] if before >= 0 else None,
            "next": everything[after] if after < len(everything) else None,
            **(_lot(request) if slug == PAGE_OF_LOT else {}),
        },
    )


def _lot(request: HttpRequest) -> dict[str, Any]:
    """Return what the page with the writes on the lot shows of them; the next visit starts anew."""
    prices = request.session.pop(PRICES, None) if PRICES in request.session else None
    return {
        "can_write": settings.DEBUG,
        "writes": [source_of(f"{lot.__name__}.{w.__name__}") for w in lot.WRITES.values()],
        "prices": prices,
        "all_cached": all(row["was_cached"] for row in prices or ()),
    }


@staff_member_required
@require_POST
def write_on_lot(request: HttpRequest) -> HttpResponse:
    """Do the writes that send no signals on a car of the lot. Never without debug."""
    if not settings.DEBUG:
        raise Http404("Cars are made and removed here with DJANGO_DEBUG only.")
    request.session[PRICES] = [asdict(prices) for prices in lot.run()]
    return redirect(reverse("learn:page", args=[PAGE_OF_LOT]) + "#lot")


@require_safe
def show_proofs(request: HttpRequest, name: str) -> HttpResponse:
    """Show the tests of a file that shows exceptions."""
    if name not in proofs.NAMES:
        raise Http404(f"There is no page of the tests {name!r}.")
    return render(request, "learn/proofs.html", {"name": name, "tests": proofs.of(name)})


@require_safe
def races(request: HttpRequest) -> HttpResponse:
    """Show the grid: races down, recipes across."""
    rows = []
    for case in CASES.values():
        if case.compared:
            cells = [recorded.grid()[recipe, case.slug, ""] for recipe in RECIPES]
            urls = [pages.lab_url(cell.recipe, cell.case, "", cell.steps) for cell in cells]
            rows.append((case, list(zip(cells, urls, strict=True))))
    rules = []
    for rule in RULE_CASES:
        run = recorded.run(without_name(rule))
        rules.append((rule, CASES[run.case], run, pages.live_url(run)))
    return render(
        request,
        "learn/races.html",
        {"rows": rows, "rules": rules, "recipes": RECIPES.values(), "live": settings.LAB},
    )


@require_safe
def lab(request: HttpRequest) -> HttpResponse:
    """Play a schedule, and offer each possible next step as a link."""
    if not settings.LAB:
        return render(request, "learn/lab_off.html")
    form = LabForm(FIRST if "recipe" not in request.GET else request.GET)
    context: dict[str, Any] = {"form": form}
    status = 200
    if not form.is_valid():
        context["form"] = form
        return render(request, "learn/lab.html", context, status=400)
    chosen = form.cleaned_data
    hint = HINT_SECONDS if chosen["hint"] else 0
    question = Question(chosen["recipe"], chosen["case"], chosen["without"], chosen["steps"], hint)
    try:
        answer = process.ask(question)
    except Unavailable as error:
        context["problem"], status = str(error), 503
    else:
        if answer.run:
            context |= _run(question, answer)
        else:
            context["problem"], status = answer.refused, 400
    recipe, case = RECIPES[question.recipe], CASES[question.case]
    context |= {
        "recipe": recipe,
        "case": case,
        "without": question.without,
        "again": _url(question),
        "source": source_of(f"{recipe.module}.CacheManager"),
    }
    return render(request, "learn/lab.html", context, status=status)


def _url(question: Question, *steps: str) -> str:
    return pages.lab_url(question.recipe, question.case, question.without, steps)


def _run(question: Question, answer: Answer) -> dict[str, Any]:
    """Return what the template needs to show the run, and what can follow."""
    run = answer.run
    assert run
    picture = picture_of(run)
    cell = recorded.grid().get((run.recipe, run.case, run.without))
    none = run.recipe == HERE.slug and not run.without
    hint = answer.hint
    if hint == "unknown":
        hint = _next_of_recorded(question)
    choices = [(choice, _url(question, *run.steps, choice.id)) for choice in run.choices]
    return {
        "run": run,
        "picture": picture,
        "choices": choices,
        "undo": _url(question, *run.steps[:-1]) if run.steps else "",
        "hint": hint,
        "hint_url": "" if none or picture.wrong else _url(question, *run.steps) + "&hint=on",
        "cell": cell,
        "none": none,
        "waits": CASES[run.case].postgresql and run.database != "postgresql",
    }


def _next_of_recorded(question: Question) -> str:
    """Return the next step of the recorded run that goes wrong, if this is its beginning."""
    cell = recorded.grid().get((question.recipe, question.case, question.without))
    steps = cell.steps if cell else ()
    if question.without:
        run = recorded.run(without_name(question.without))
        steps = run.steps if run.case == question.case else ()
    length = len(question.steps)
    return steps[length] if steps[:length] == question.steps and length < len(steps) else "unknown"
