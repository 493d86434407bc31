"""The recurrent text encoder as a loop over time that exporters can follow, whatever the number of words."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from attngan.records import CaptionBatch, TextFeatures


class ScannedTextEncoder(nn.Module):
    """What `attngan.networks.text_encoder.TextEncoder` gives in eval mode, with its weights.

    torch's recurrent layers are traced for one number of words; a scan is traced for any. It holds no packed sequences:
    beyond a caption's end its state stays what it was.

    Args:
        embedding: The word embedding.
        rnn: The recurrent layer: one, bidirectional.
    """

    def __init__(self, embedding: nn.Embedding, rnn: nn.LSTM | nn.GRU) -> None:
        super().__init__()
        self.embedding = embedding
        step = _lstm_step if isinstance(rnn, nn.LSTM) else _gru_step
        self.step, self.states = step, 2 if isinstance(rnn, nn.LSTM) else 1
        self.width = rnn.hidden_size
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        self.forwards = nn.ParameterList([getattr(rnn, name) for name in names])
        self.backwards = nn.ParameterList([getattr(rnn, f"{name}_reverse") for name in names])

    def forward(self, captions: CaptionBatch) -> TextFeatures:
        read = ~captions.padding
        words = self.embedding(captions.ids)
        ways = [self._run(words, read, self.forwards, False), self._run(words, read, self.backwards, True)]
        states = torch.cat([states for states, _ in ways], 2).masked_fill(~read[..., None], 0.0)
        return TextFeatures(states.mT, torch.cat([last for _, last in ways], 1), captions.padding)

    def _run(
        self,
        words: Float[Tensor, "batch words word"],
        read: Bool[Tensor, "batch words"],
        weights: nn.ParameterList,
        reverse: bool,
    ) -> tuple[Float[Tensor, "batch words width"], Float[Tensor, "batch width"]]:
        """One direction's state at each word, and its last one."""
        of_words, of_state, bias, state_bias = weights
        given = (words @ of_words.mT + bias).transpose(0, 1)  # (words, batch, gates * width)
        start = tuple(words.new_zeros(words.shape[0], self.width) for _ in range(self.states))

        def step(state: tuple[Tensor, ...], at: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
            gates, there = at
            after = self.step(gates, state[0] @ of_state.mT + state_bias, state)
            kept = tuple(torch.where(there, new, old) for new, old in zip(after, state, strict=True))
            return kept, kept[0].clone()  # a scan must not give one tensor twice

        last, states = scan(step, start, (given, read.mT[..., None]), reverse=reverse)
        return states.transpose(0, 1), last[0]


def _lstm_step(gates: Tensor, of_state: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Input, forget, cell and output gate, in torch's order."""
    take, keep, cell, give = (gates + of_state).chunk(4, 1)
    memory = keep.sigmoid() * state[1] + take.sigmoid() * cell.tanh()
    return give.sigmoid() * memory.tanh(), memory


def _gru_step(gates: Tensor, of_state: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Reset and update gate and the candidate, in torch's order."""
    reset, update, candidate = gates.chunk(3, 1)
    state_reset, state_update, state_candidate = of_state.chunk(3, 1)
    share = (update + state_update).sigmoid()
    new = (candidate + (reset + state_reset).sigmoid() * state_candidate).tanh()
    return ((1 - share) * new + share * state[0],)
