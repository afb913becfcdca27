"""Make again what results name: a method with its parameters, and a protocol with its choices."""

from __future__ import annotations

from xaibench import registry
from xaibench.errors import RegistryError
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.settings import changes, registered_name
from xaibench.explaining.trainable import TrainableExplainer
from xaibench.results.parts import MethodFacts
from xaibench.results.store import Manifest
from xaibench.scoring.protocol import Protocol


def method_of(facts: MethodFacts) -> Explainer:
    """Make the method that a part says it was made with.

    Raises:
        RegistryError: it is not installed.
    """
    made: Explainer = registry.create("methods", registered_name(facts.name))
    return made if isinstance(made, TrainableExplainer) else made.with_parameters(**changes(made, facts.parameters))


def protocol_of(manifest: Manifest) -> Protocol:
    """Return the protocol of a run, with its fill and target.

    Raises:
        RegistryError: none of this id is installed.
    """
    for name in registry.names("protocols"):
        protocol: Protocol = registry.load("protocols", name)
        if protocol.id == manifest.protocol:
            return protocol.with_choices(manifest.fill, manifest.target, manifest.long)
    raise RegistryError(f"no protocol with the id {manifest.protocol} is installed here")
