"""All mutants, and all harmless variants."""

from tests.mutants.catalogue.harmless import VARIANTS
from tests.mutants.catalogue.hidden import HIDDEN
from tests.mutants.catalogue.life import LIFE
from tests.mutants.catalogue.options import OPTIONS
from tests.mutants.catalogue.serving import SERVING
from tests.mutants.catalogue.sockets import SOCKETS

MUTANTS = (*SOCKETS, *OPTIONS, *SERVING, *LIFE, *HIDDEN)
HARMLESS = VARIANTS
