"""The DIMSE statuses with which this node answers, where no class of error has its own.

Source: PS3.7 Annex C, PS3.4 B.2.3.
"""

from __future__ import annotations

from typing import Final

SUCCESS: Final = 0x0000
PROCESSING_FAILURE: Final = 0x0110
OUT_OF_RESOURCES: Final = 0xA700
OTHER_CONTENT: Final = 0xC001
"""Another instance has the SOP Instance UID already."""
