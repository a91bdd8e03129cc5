# SPDX-License-Identifier: GPL-3.0-or-later
"""Just enough of tokenizer.json for the reference: byte-level BPE with the GPT-2 split, and
SentencePiece-style BPE (Prepend, Replace, byte fallback). Special-token text is not recognised."""
import heapq
import json
import re
import unicodedata
from pathlib import Path


def _byte_alphabet():
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, extra = {}, 0
    for byte in range(256):
        if byte in keep:
            table[byte] = chr(byte)
        else:
            table[byte] = chr(256 + extra)
            extra += 1
    return table


def _gpt2_split(text):
    """The GPT-2 pattern; letters and numbers are those the text itself contains."""
    def cls(first):
        return "".join(re.escape(c) for c in sorted(set(text)) if unicodedata.category(c)[0] == first)
    letters, numbers = cls("L") or "\x00", cls("N") or "\x00"
    pattern = (r"'s|'t|'re|'ve|'m|'ll|'d| ?[%s]+| ?[%s]+| ?[^\s%s%s]+|\s+(?!\S)|\s+"
               % (letters, numbers, letters, numbers))
    return re.findall(pattern, text)


class Tokenizer:
    def __init__(self, folder):
        data = json.loads((Path(folder) / "tokenizer.json").read_text(encoding="utf-8"))
        model = data["model"]
        assert model["type"] == "BPE"
        self.vocab = model["vocab"]
        merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
        self.ranks = {pair: i for i, pair in enumerate(merges)}
        self.byte_level = (data["pre_tokenizer"] or {}).get("type") == "ByteLevel"
        self.byte_fallback = model.get("byte_fallback", False)
        self.unk = self.vocab.get(model.get("unk_token") or "")
        self.bos = None
        for part in (data["post_processor"] or {}).get("single", []):
            if "Sequence" in part:
                break
            self.bos = data["post_processor"]["special_tokens"][part["SpecialToken"]["id"]]["ids"][0]
        self.cache = {}

    def encode(self, text, special=True):
        ids = [self.bos] if special and self.bos is not None else []
        if self.byte_level:
            alphabet = _byte_alphabet()
            for word in _gpt2_split(text):
                word = "".join(alphabet[b] for b in word.encode("utf-8"))
                if word not in self.cache:
                    self.cache[word] = self._ids(self._merge(list(word)))
                ids += self.cache[word]
            return ids
        if not text:
            return ids
        return ids + self._ids(self._merge(list("\u2581" + text.replace(" ", "\u2581"))))

    def _merge(self, symbols):
        """Lowest rank first, leftmost among equals: a heap over a linked list."""
        count = len(symbols)
        after, before = list(range(1, count + 1)), list(range(-1, count - 1))
        alive = [True] * count
        heap = []

        def push(i):
            if i >= 0 and after[i] < count:
                rank = self.ranks.get((symbols[i], symbols[after[i]]))
                if rank is not None:
                    heapq.heappush(heap, (rank, i, symbols[i], symbols[after[i]]))
        for i in range(count - 1):
            push(i)
        while heap:
            _, i, left, right = heapq.heappop(heap)
            j = after[i]
            if not alive[i] or j >= count or symbols[i] != left or symbols[j] != right:
                continue
            symbols[i] = left + right
            alive[j] = False
            after[i] = after[j]
            if after[j] < count:
                before[after[j]] = i
            push(before[i])
            push(i)
        return [s for s, a in zip(symbols, alive) if a]

    def _ids(self, symbols):
        ids = []
        for s in symbols:
            if s in self.vocab:
                ids.append(self.vocab[s])
                continue
            tokens = ["<0x%02X>" % b for b in s.encode("utf-8")]
            if self.byte_fallback and all(t in self.vocab for t in tokens):
                ids += [self.vocab[t] for t in tokens]
            elif not ids or ids[-1] != self.unk:  # fuse_unk
                ids.append(self.unk)
        return ids
