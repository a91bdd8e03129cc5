// SPDX-License-Identifier: GPL-3.0-or-later
// The npm package `tokenizers` as our reference.
import { Tokenizer } from 'tokenizers';

/// A reference tokenizer. Without `parse_special`, the text of special tokens is plain text; the
/// package has no switch for that, so the special tokens are taken out of its list. Their ids stay
/// where they are as long as the vocabulary has them too.
export function load_tokenizer(json, parse_special) {
  const copy = structuredClone(json);
  copy.truncation = null;
  copy.padding = null;
  if (!parse_special) {
    for (const token of copy.added_tokens.filter((t) => t.special))
      copy.model.vocab[token.content] ??= token.id;
    copy.added_tokens = copy.added_tokens.filter((t) => !t.special);
  }
  return Tokenizer.fromString(JSON.stringify(copy));
}
