"""What is to be said → 200 ms of sound a tick: durations, a frame decoder, flow refinement, the vocoder.

Unusual choices:
- Words arrive as phonemes in a queue; durations are decided when a phoneme begins, from as many of the next
  seven as are known by then. So every tick knows the phoneme of each of its 16 frames and of the next 8.
- What Durations makes of a phoneme and its neighbours goes to the decoder, too: a frame knows more of the sentence
  than what sounds around it, for nothing.
- The decoder sees a window of 40 frames (16 of the last patch, 16 now, 8 to come) through unpadded
  convolutions that shrink it to exactly 16. Its only state is the last patch, so training on whole utterances
  is the same code.
- An L1 decoder gives the patch; a flow head over four groups of four frames adds what the average leaves out,
  in a few Euler steps, from noise that is a function of (seed, tick).
- Silence is exact: a row that does not sound gets zeros, and its last patch and vocoder state are zeros too.

Shape suffixes: B rows, S slots, Q places in the queue, P new phonemes, K phonemes looked at in a tick, F
frames, C channels of a frame (82), D width of the backbone, W width here, G groups (4), E steps of the flow.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microturn.clock import SPEAK_RATE, SPEAK_SAMPLES
from microturn.model.layers import RMSNorm
from microturn.model.phonemes import BOUNDARY, NONE, PHONEMES
from microturn.model.vocoder import CHANNELS, SlotState, Vocoder, VocoderState
from microturn.streams import Decision

FRAMES = 16  # of 12.5 ms, in a patch
AHEAD = 8  # frames whose phonemes are known beyond the patch
SPAN = FRAMES + AHEAD
GROUPS = 4
GROUP = FRAMES // GROUPS * CHANNELS  # numbers the flow moves at each of its positions
BEHIND, NEIGHBOURS = 2, 7  # phonemes before and after one that its duration depends on
LONGEST = 40  # frames of one phoneme
AROUND = 192  # numbers that tell of a phoneme's neighbourhood
NEVER = 1 << 20  # "frames" of an empty place in the queue: nothing comes after it
COUNTED = 16  # frames into, or to the end of, a phoneme that the decoder can tell apart
FADE = SPEAK_RATE // 50  # samples: yielding takes 20 ms
NOISES = 1024


@dataclass(frozen=True)
class SpeechConfig:
    width: int = 192
    blocks: int = 4  # taps and blocks are tied to the 40-frame window
    flow_width: int = 320
    flow_blocks: int = 2
    flow_steps: int = 2  # 0 leaves the L1 decoder alone
    temperature: float = 0.5
    queue: int = 96  # phonemes that can wait
    looked_at: int = 16  # K: phonemes that can begin within one tick's span
    vocoder_width: int = 224
    vocoder_blocks: int = 6


@dataclass
class SpeechState(SlotState):
    queue: Tensor  # [S, Q] phoneme ids, the current one first; 0 = empty
    count: Tensor  # [S] phonemes in the queue
    left: Tensor  # [S] frames left of the current phoneme, if it has begun
    full: Tensor  # [S] all of its frames; 0 = not begun
    behind: Tensor  # [S, BEHIND] the phonemes before it
    patch: Tensor  # [S, 16, 82] the last patch, normalised; zeros in silence
    sounding: Tensor  # [S] bool, whether the last tick had sound
    seed: Tensor  # [S]
    tick: Tensor  # [S]
    vocoder: VocoderState

    @property
    def scratch(self) -> int:
        """A slot beyond those asked for, where padding rows may write."""
        return len(self.count) - 1

    def reset(self, slot: int, seed: int = 0) -> None:
        for _, tensor in self.tensors():
            tensor[slot] = 0
        self.seed[slot] = seed


@dataclass(frozen=True)
class Frames:
    """What is said in each of a tick's 16 + 8 frames, [B, 24] int64."""

    phoneme: Tensor
    into: Tensor  # frames since it began
    to_go: Tensor  # frames until it ends
    around: Tensor  # [B, 24, AROUND] where it stands; zeros where nothing is said


class Durations(nn.Module):
    """Frames of each phoneme from a window of 2 before, itself, and 7 after (0 where not known)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.phoneme = nn.Embedding(PHONEMES, width)
        self.mlp = nn.Sequential(
            nn.Linear(width * (BEHIND + 1 + NEIGHBOURS), 384), nn.SiLU(), nn.Linear(384, AROUND), nn.SiLU()
        )
        self.longer = nn.Linear(AROUND, LONGEST)  # odds of lasting longer than 0 … 39 frames
        if self.longer.weight.device.type != "meta":
            with torch.no_grad():
                self.longer.bias.copy_(torch.linspace(4.0, -8.0, LONGEST))

    def around(self, window: Tensor) -> Tensor:
        """Ids [..., 10] → [..., AROUND]; zeros where there is no phoneme."""
        found: Tensor = self.mlp(self.phoneme(window).flatten(-2))
        return found * (window[..., BEHIND] != NONE)[..., None]

    def forward(self, around: Tensor) -> Tensor:
        """Expected frames [...]."""
        expected: Tensor = self.longer(around).sigmoid().sum(-1)
        return expected

    def whole(self, frames: Tensor, phoneme: Tensor) -> Tensor:
        """Expected frames → a number of frames. Only a word boundary may take none."""
        least = (phoneme != BOUNDARY).long()
        return torch.maximum(frames.round().long(), least).masked_fill(phoneme == NONE, NEVER)


class Shrink(nn.Module):
    """Depthwise taps over 4 frames before and 2 after without padding, then an MLP: F frames → F − 6."""

    BEFORE, AFTER = 4, 2

    def __init__(self, width: int) -> None:
        super().__init__()
        self.taps = nn.Parameter(torch.empty(self.BEFORE + 1 + self.AFTER, width))
        self.norm = RMSNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        if self.taps.device.type != "meta":
            nn.init.normal_(self.taps, std=len(self.taps) ** -0.5)

    def forward(self, x_BFW: Tensor) -> Tensor:
        frames = x_BFW.shape[1] - self.BEFORE - self.AFTER
        mixed = x_BFW[:, :frames] * self.taps[0]
        for k in range(1, len(self.taps)):
            mixed = torch.addcmul(mixed, x_BFW[:, k : k + frames], self.taps[k])
        out: Tensor = self.down(F.gelu(self.up(self.norm(mixed))))
        return x_BFW[:, self.BEFORE : self.BEFORE + frames] + out


class Decoder(nn.Module):
    """The average patch: [last patch | 16 + 8 phonemes] and the backbone's hidden state → 16 × 82."""

    def __init__(self, config: SpeechConfig, d_model: int) -> None:
        super().__init__()
        width = config.width
        if config.blocks * (Shrink.BEFORE + Shrink.AFTER) != FRAMES + AHEAD:
            raise ValueError(f"speech: the decoder needs {SPAN // 6} blocks, not {config.blocks}")
        self.heard = nn.Linear(CHANNELS, width)
        self.hidden_norm = RMSNorm(d_model)
        self.hidden = nn.Linear(d_model, width)
        self.phoneme = nn.Embedding(PHONEMES, width)
        self.into = nn.Embedding(COUNTED, width)
        self.to_go = nn.Embedding(COUNTED, width)
        self.around = nn.Linear(AROUND, width, bias=False)
        self.place = nn.Parameter(torch.zeros(FRAMES + SPAN, width))
        self.blocks = nn.ModuleList(Shrink(width) for _ in range(config.blocks))
        self.norm = RMSNorm(width)
        self.outward = nn.Linear(width, CHANNELS)

    def forward(self, hidden_BD: Tensor, frames: Frames, last_BFC: Tensor) -> tuple[Tensor, Tensor]:
        """→ the patch [B, 16, 82] and what it was made from [B, 16, W]."""
        last = COUNTED - 1
        coming = (
            self.phoneme(frames.phoneme)
            + self.into(frames.into.clamp(0, last))
            + self.to_go(frames.to_go.clamp(0, last))
            + self.around(frames.around)
        )
        x = torch.cat([self.heard(last_BFC), coming], 1) + self.place
        x = x + self.hidden(self.hidden_norm(hidden_BD))[:, None]
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return self.outward(x), x


class FlowBlock(nn.Module):
    """Neighbouring groups mix, then an MLP; the step's time shifts the norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.taps = nn.Parameter(torch.empty(3, width))
        self.norm = RMSNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        if self.taps.device.type != "meta":
            nn.init.normal_(self.taps, std=3**-0.5)

    def forward(self, x_BGW: Tensor, time: Tensor) -> Tensor:
        sides = F.pad(x_BGW, (0, 0, 1, 1))
        mixed = sides[:, :-2] * self.taps[0] + x_BGW * self.taps[1] + sides[:, 2:] * self.taps[2] + time
        out: Tensor = self.down(F.gelu(self.up(self.norm(mixed))))
        return x_BGW + out


class Flow(nn.Module):
    """Velocity of the residual (target − L1 patch) ÷ `spread`: noise at time 0, the residual at time 1."""

    spread: Tensor

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__()
        width = config.flow_width
        self.moving = nn.Linear(GROUP, width)
        self.given = nn.Linear(FRAMES // GROUPS * config.width, width)
        self.time = nn.Linear(16, width)
        self.blocks = nn.ModuleList(FlowBlock(width) for _ in range(config.flow_blocks))
        self.norm = RMSNorm(width)
        self.outward = nn.Linear(width, GROUP)
        self.register_buffer("spread", torch.full((CHANNELS,), 0.1))  # training sets it from L1 residuals
        if self.outward.weight.device.type != "meta":
            nn.init.zeros_(self.outward.weight)
            nn.init.zeros_(self.outward.bias)

    def context(self, made_BFW: Tensor) -> Tensor:
        given: Tensor = self.given(made_BFW.reshape(made_BFW.shape[0], GROUPS, -1))
        return given

    def clock(self, time_B: Tensor) -> Tensor:
        """Times in 0 … 1 → [B, 1, W]."""
        waves = time_B[:, None] * torch.arange(1, 9, device=time_B.device) * (torch.pi / 2)
        out: Tensor = self.time(torch.cat([waves.sin(), waves.cos()], -1))
        return out[:, None]

    def moved(self, moving_BGN: Tensor, context_BGW: Tensor, steps: int) -> Tensor:
        """From time 0 to time 1."""
        # Four equal rows: fewer would go through other kernels than training's.
        times = torch.arange(steps, device=moving_BGN.device).repeat_interleave(4) / steps
        clock = self.clock(times).view(steps, 4, 1, -1)[:, 0]
        for e in range(steps):
            moving_BGN = moving_BGN + self(moving_BGN, context_BGW, clock[e]) / steps
        return moving_BGN

    def forward(self, moving_BGN: Tensor, context_BGW: Tensor, clock_B1W: Tensor) -> Tensor:
        x = self.moving(moving_BGN) + context_BGW
        for block in self.blocks:
            x = block(x, clock_B1W)
        out: Tensor = self.outward(self.norm(x))
        return out


class SpeechHead(nn.Module):
    noise: Tensor
    fade: Tensor

    def __init__(self, config: SpeechConfig, d_model: int) -> None:
        super().__init__()
        self.config = config
        self.rows_multiple = 4  # plain kernels differ below four rows; packed ones (1) never do
        self.durations = Durations()
        self.decoder = Decoder(config, d_model)
        self.flow = Flow(config)
        self.vocoder = Vocoder(config.vocoder_width, config.vocoder_blocks)
        noise = np.random.default_rng(11).standard_normal((NOISES, GROUPS, GROUP)).astype(np.float32)
        self.register_buffer("noise", torch.from_numpy(noise), persistent=False)
        fade = torch.zeros(SPEAK_SAMPLES)
        fade[:FADE] = torch.linspace(0, torch.pi, FADE + 2)[1:-1].cos() / 2 + 0.5
        self.register_buffer("fade", fade, persistent=False)

    def allocate(self, slots: int) -> SpeechState:
        """State for `slots` sessions and one scratch slot, `state.scratch`, for padding rows."""
        rows, like = slots + 1, self.noise
        return SpeechState(
            queue=like.new_zeros(rows, self.config.queue, dtype=torch.int64),
            count=like.new_zeros(rows, dtype=torch.int64),
            left=like.new_zeros(rows, dtype=torch.int64),
            full=like.new_zeros(rows, dtype=torch.int64),
            behind=like.new_zeros(rows, BEHIND, dtype=torch.int64),
            patch=like.new_zeros(rows, FRAMES, CHANNELS),
            sounding=like.new_zeros(rows, dtype=torch.bool),
            seed=like.new_zeros(rows, dtype=torch.int64),
            tick=like.new_zeros(rows, dtype=torch.int64),
            vocoder=self.vocoder.allocate(rows),
        )

    @staticmethod
    def feedback(state: SpeechState, slots_B: Tensor) -> Tensor:
        """What the last tick sounded like, [B, 16·82]: zeros in silence."""
        return state.patch[slots_B].flatten(1)

    def step(
        self,
        state: SpeechState,
        slots_B: Tensor,
        hidden_BD: Tensor,
        decision_B: Tensor,
        new_BP: Tensor,
        new_count_B: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """One tick → sound [B, 4800] and whether each row has any. Only rows with sound cost anything.

        LISTEN drops the queue and fades out within 20 ms. SPEAK sounds; the other
        decisions go on with what is queued.
        """
        batch = len(slots_B)
        queue, count = push(state.queue[slots_B], state.count[slots_B], new_BP, new_count_B)
        listening = decision_B == Decision.LISTEN
        speaking = (decision_B == Decision.SPEAK) | (~listening & (count > 0))
        sounding = speaking | state.sounding[slots_B]
        state.queue[slots_B] = queue.masked_fill(listening[:, None], NONE)
        state.count[slots_B] = count.masked_fill(listening, 0)
        state.tick[slots_B] += 1
        speech = hidden_BD.new_zeros(batch, SPEAK_SAMPLES)
        rows = sounding.nonzero()[:, 0]
        if len(rows):
            count_sounding, padding = len(rows), -len(rows) % self.rows_multiple
            padded = torch.cat([rows, rows[:1].expand(padding)])
            used = torch.cat([slots_B[rows], rows.new_full((padding,), state.scratch)])
            part = state.take(used)
            part.queue = queue[padded]
            sound = self.sound(part, hidden_BD[padded], speaking[padded])
            state.put(used, part)
            speech[rows] = sound[:count_sounding]
        return speech, sounding

    def sound(self, part: SpeechState, hidden_BD: Tensor, speaking_B: Tensor) -> Tensor:
        """One tick of rows that all sound; `part` moves on. Rows that stop are faded and left clean."""
        frames = self.advance(part)
        patch = self.patch(hidden_BD, frames, part.patch, self.noise_of(part.seed, part.tick))
        samples, vocoder = self.vocoder(patch, part.vocoder)
        samples = torch.where(speaking_B[:, None], samples, samples * self.fade)
        part.patch, part.vocoder, part.sounding = patch, vocoder, speaking_B
        stopped = ~speaking_B
        if stopped.any():
            for name, tensor in part.tensors():
                if name not in ("seed", "tick"):
                    tensor[stopped] = 0
        return samples

    def advance(self, part: SpeechState) -> Frames:
        """Take 16 frames off the queue; say what is in them and in the next 8."""
        looked = self.config.looked_at
        ids = F.pad(part.queue[:, :looked], (0, 1))  # an empty place stands behind the last one
        known = torch.cat([part.behind, part.queue[:, : looked + NEIGHBOURS]], 1)
        window = known.unfold(1, BEHIND + 1 + NEIGHBOURS, 1)
        around = self.durations.around(window)
        full = F.pad(self.durations.whole(self.durations(around), ids[:, :looked]), (0, 1), value=NEVER)
        begun = part.full > 0
        full[:, 0] = torch.where(begun, part.full, full[:, 0])
        elapsed = torch.where(begun, part.full - part.left, torch.zeros_like(part.full))
        end = full.cumsum(1) - elapsed[:, None]  # [B, K+1] frames from now
        frame = torch.arange(SPAN, device=ids.device)
        at = (end[:, None] <= frame[:, None]).sum(-1)  # [B, 24] place in the queue
        into = frame - (end - full).gather(1, at)
        to_go = end.gather(1, at) - frame - 1
        gone = (end <= FRAMES).sum(-1)  # phonemes that are over
        head = gone[:, None]
        head_end, head_full = end.gather(1, head)[:, 0], full.gather(1, head)[:, 0]
        current = (head_end - head_full < FRAMES) & (head_full < NEVER)
        part.left = (head_end - FRAMES).masked_fill(~current, 0)
        part.full = head_full.masked_fill(~current, 0)
        place = torch.arange(part.queue.shape[1], device=ids.device)
        part.behind = known.gather(1, gone[:, None] + place[:BEHIND])
        part.queue = F.pad(part.queue, (0, looked + 1)).gather(1, gone[:, None] + place)
        part.count = (part.queue != NONE).sum(-1)
        around = F.pad(around, (0, 0, 0, 1)).gather(1, at[..., None].expand(-1, -1, AROUND))
        return Frames(ids.gather(1, at), into, to_go, around)

    def noise_of(self, seed_B: Tensor, tick_B: Tensor) -> Tensor:
        mixed = seed_B * 2654435761 + tick_B * 40503
        row = ((mixed ^ (mixed >> 15)) * 2246822519 >> 8) % NOISES
        return self.noise[row]

    def patch(self, hidden_BD: Tensor, frames: Frames, last_BFC: Tensor, noise_BGN: Tensor) -> Tensor:
        """The next patch, [B, 16, 82]."""
        average: Tensor
        average, made = self.decoder(hidden_BD, frames, last_BFC)
        steps = self.config.flow_steps
        if steps == 0:
            return average
        moving = self.flow.moved(noise_BGN * self.config.temperature, self.flow.context(made), steps)
        refined: Tensor = average + moving.reshape(average.shape) * self.flow.spread
        return refined

    def forward(self, hidden_BTD: Tensor, frames: Frames, patches_BTFC: Tensor) -> tuple[Tensor, Tensor]:
        """Whole utterances with the teacher's patches, `frames` [B, T, 24] → L1 patches, what made them.

        The same code as a tick: ticks are rows, and the patch before the first one is silence.
        """
        batch, ticks = hidden_BTD.shape[:2]
        last = F.pad(patches_BTFC[:, :-1], (0, 0, 0, 0, 1, 0)).flatten(0, 1)
        rows = Frames(*(getattr(frames, f.name).flatten(0, 1) for f in fields(Frames)))
        average, made = self.decoder(hidden_BTD.flatten(0, 1), rows, last)
        return average.unflatten(0, (batch, ticks)), made.unflatten(0, (batch, ticks))

    def flow_loss(self, average: Tensor, made: Tensor, target: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """Flow matching on R ticks: average, target [R, 16, 82]; time [R]; noise [R, 4, 328]."""
        residual = ((target - average.detach()) / self.flow.spread).reshape(noise.shape)
        moving = noise + (residual - noise) * time[:, None, None]
        velocity = self.flow(moving, self.flow.context(made.detach()), self.flow.clock(time))
        return F.mse_loss(velocity, residual - noise)


def push(queue_BQ: Tensor, count_B: Tensor, new_BP: Tensor, new_count_B: Tensor) -> tuple[Tensor, Tensor]:
    """Append; what does not fit is dropped."""
    places, news = queue_BQ.shape[1], new_BP.shape[1]
    column = torch.arange(news, device=new_BP.device)
    new_BP = new_BP.masked_fill(column >= new_count_B[:, None], NONE)
    longer = F.pad(queue_BQ, (0, news)).scatter(1, count_B[:, None] + column, new_BP)
    return longer[:, :places], (count_B + new_count_B).clamp(max=places)
