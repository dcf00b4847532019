from .base import Control as Control
from .constant import Constant as Constant
from .random import Random as Random
from .sobel import Sobel as Sobel
