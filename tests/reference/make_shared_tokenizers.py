# SPDX-License-Identifier: GPL-3.0-or-later
# Makes tests/golden/shared_tokenizers.json for the SentencePiece models (Debian's sentencepiece,
# python3-sentencepiece) and keeps the entries of other tokenizers, which come from the npm package
# `tokenizers`:  /usr/bin/python3 make_shared_tokenizers.py DATA/tokenizers ../golden/shared_tokenizers.json
import json
import os
import sys

import sentencepiece

folder, path = sys.argv[1:]
golden = json.load(open(path))
for entry in golden["files"]:
    if entry["by"] == "sentencepiece":
        model = sentencepiece.SentencePieceProcessor(model_file=os.path.join(folder, entry["file"]))
        entry["ids"] = [model.encode(text) for text in golden["texts"]]
with open(path, "w") as out:
    out.write('{"texts": ' + json.dumps(golden["texts"]) + ',\n"files": [\n')
    out.write(",\n".join(json.dumps(entry) for entry in golden["files"]) + "\n]}\n")
