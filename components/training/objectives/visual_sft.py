"""Visual instruction tuning: predict the answers of chats about pictures, and only those (Liu et al. 2023)."""

from components.training.objectives.base import Objective, z_loss_of
from components.training.objectives.sft import loss

OBJECTIVE = Objective(kind="questions", loss=loss, metrics=("accuracy",), settings=z_loss_of)
