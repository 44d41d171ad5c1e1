"""The array types that physics is made of."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
#: which fixtures: their numbers, or a slice of all where picking would cost more than working on everyone
Chosen = Integers | slice
