from .base import Control as Control
from .constant import Constant as Constant
from .entries import control_entries as control_entries
from .entries import is_control as is_control
from .random import Random as Random
from .sobel import Sobel as Sobel
