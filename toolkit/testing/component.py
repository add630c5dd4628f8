"""Holds a component alone to the contract of its kind: for the tests of authors, and a command."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from toolkit.errors import ToolkitError
from toolkit.registry.build import ComponentFactory
from toolkit.registry.component_errors import describe_error, explain_failure
from toolkit.registry.contracts import find_contract
from toolkit.testing.contract import Contract, Fault, describe_inputs
from toolkit.testing.independence import watch_settings
from toolkit.testing.observe import call_component, list_forward_names
from toolkit.testing.values import find_module_faults

Capture = Literal['export', 'compile']


def check_component(cls: type, /, **arguments: Any) -> None:
    """Checks a component in one line of a test: `check_component(BoxBlur, size=3)`.

    It is built as its parent would, run at two sizes and on a batch of one, forward and backward,
    saved, loaded and, if worker processes need it, pickled.

    Args:
        cls: class of the component; it need not be registered.
        **arguments: as in a config.
    Raises:
        AssertionError: it breaks the contract of its kind; the message names each fault.
    """
    if faults := find_component_faults(cls, arguments):
        raise AssertionError('\n'.join(map(str, faults)))


def find_component_faults(
    cls: type, arguments: Mapping[str, Any], captures: Sequence[Capture] = ()
) -> list[Fault]:
    """Finds the faults of a component alone.

    Args:
        cls: class of the component.
        arguments: as in a config.
        captures: what else a module must bear: 'export' and 'compile', which no contract promises.
    Raises:
        ToolkitError: its kind has no contract.
    """
    contract: Contract | None = find_contract(cls)
    if contract is None:
        raise ToolkitError(
            f'{cls.__name__} is of a kind without a contract; there is one for subclasses of '
            'Backbone, Neck, Attention, Head, Degradation, Loss, Metric, Dataset and of the '
            'interfaces of tasks'
        )
    faults = []
    if not (cls.__doc__ or '').strip() or '__doc__' not in vars(cls):
        faults.append(Fault('', cls, 'has no docstring; say what it does, and its shapes'))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for injected in contract.list_injected(cls):
            try:
                factory = ComponentFactory(cls, arguments, '')
                changed: list[str] = []
                with watch_settings(changed):
                    listed = _list_messages(factory, contract, injected)
                messages = list(dict.fromkeys([*listed, *changed]))
                for capture in () if messages else captures:
                    messages += _find_capture_faults(factory(**injected), contract, capture)
            except ToolkitError as error:
                messages = [f'cannot be built: {error}']
            except (Exception, SystemExit) as error:  # the component is its author's code
                failure = explain_failure(error)
                messages = [failure.message if failure else f'fails: {describe_error(error)}']
            if messages:
                return faults + [Fault('', cls, message) for message in messages]
    return faults


def _list_messages(
    factory: ComponentFactory, contract: Contract, injected: Mapping[str, Any]
) -> list[str]:
    make = functools.partial(factory, **injected)
    component, found = make(), list[str]()
    if not isinstance(component, nn.Module):
        found = list(contract.find_value_faults(component))
        return found or (_find_pickle_faults(component) if contract.is_pickled else [])
    for case, batch in ((0, 2), (1, 2), (0, 1)):
        inputs = contract.make_inputs(component, case, batch)
        if inputs is None:
            return ['takes inputs that no system gives; name outputs of a system in its forward']
        named = name_inputs(component, inputs)
        if batch > 1:
            found = list(find_module_faults(make, named))
        else:
            component.eval()
            contract.prepare(component)
            with torch.no_grad():
                found = list(
                    contract.find_call_faults(component, named, call_component(component, named))
                )
        if found:
            return found
    return list(contract.find_value_faults(make()))


def _find_capture_faults(component: Any, contract: Contract, capture: Capture) -> list[str]:
    """Finds faults of a component whose operations torch records, before it runs them."""
    if not isinstance(component, nn.Module):
        return []
    done = 'exported (torch.export)' if capture == 'export' else 'compiled (torch.compile)'
    component.eval()
    contract.prepare(component)
    for case in (0, 1):
        inputs = name_inputs(component, contract.make_inputs(component, case) or {})
        try:
            with torch.no_grad(), _silence_torch():
                torch.manual_seed(0)
                expected = component(**inputs)
                torch.manual_seed(0)
                found = _capture(component, inputs, capture)(**inputs)
        except Exception as error:  # whatever torch finds in the author's code
            advice = ', where no value may choose what is computed' if capture == 'export' else ''
            return [f'cannot be {done}{advice}: {describe_error(error)}']
        try:
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, equal_nan=True)
        except AssertionError:
            return [f'gives other values of {describe_inputs(inputs)} once it is {done}']
    return []


@contextlib.contextmanager
def _silence_torch() -> Iterator[None]:
    """Keeps back what torch logs and prints beside the error that it raises."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _capture(component: nn.Module, inputs: dict[str, Any], capture: Capture) -> Callable[..., Any]:
    if capture == 'export':
        return torch.export.export(component, (), inputs).module()
    torch.compiler.reset()
    # All of compiling but the machine code, for which a C++ compiler is needed.
    return torch.compile(component, backend='aot_eager')


def name_inputs(component: nn.Module, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Names inputs as the `forward` of a component does, which may choose its own names."""
    names = list_forward_names(component)
    if names is None or set(inputs) <= set(names):
        return dict(inputs)
    return dict(zip(names, inputs.values()))


def _find_pickle_faults(component: Any) -> list[str]:
    try:
        pickle.loads(pickle.dumps(component))
    except Exception as error:  # pickling runs the component's own code
        return [
            f'cannot be pickled, as worker processes need ({describe_error(error)}); keep no '
            'lambdas, open files or locks as attributes'
        ]
    return []
