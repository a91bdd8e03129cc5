// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/generation.h"

namespace bitlathe::gui {

QString Generation::text() const {
  QString out;
  for (const ShownToken& token : tokens)
    out += token.text;
  return out;
}

Pieces Generation::pieces() const {
  Pieces out;
  out.reserve(std::size_t(tokens.size()));
  for (const ShownToken& token : tokens)
    out.push_back(token.bytes.toStdString());
  return out;
}

void takeFigures(Generation& generation, const TranscriptSide& side) {
  generation.stopReason = QString::fromStdString(side.stop_reason);
  generation.problem = QString::fromStdString(side.problem);
  generation.rendered = QString::fromStdString(side.rendered);
  generation.kl = QList<double>(side.kl.begin(), side.kl.end());
  generation.forced = QList<double>(side.forced_logprobs.begin(), side.forced_logprobs.end());
  generation.klProblem = QString::fromStdString(side.kl_problem);
  generation.promptSeconds = side.prompt_seconds;
  generation.seconds = side.seconds;
  generation.promptTokens = qsizetype(side.prompt_tokens);
  generation.peakBytes = side.peak_bytes;
  generation.kvBytes = side.kv_bytes;
  generation.state = side.failed()     ? GenerationState::failed
                     : side.complete() ? GenerationState::done
                                       : GenerationState::stopped;
}

Generation generationOf(const Transcript& transcript, std::size_t index) {
  const TranscriptSide& side = transcript.sides[index];
  Generation out;
  out.title = QString::fromStdString(side.title);
  out.detail = QString::fromStdString(side.path);
  out.prompt = QString::fromStdString(transcript.prompt);
  takeFigures(out, side);
  const Pieces pieces = side.token_pieces();
  const auto texts = texts_of(pieces);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    ShownToken token;
    token.id = side.ids[i];
    token.bytes = QByteArray::fromStdString(pieces[i]);
    token.text = QString::fromStdString(texts[i]);
    if (i < side.logprobs.size()) {
      token.hasLogprob = true;
      token.logprob = side.logprobs[i];
    }
    if (i < side.top.size())
      for (const TranscriptTop& top : side.top[i]) {
        const auto piece = side.pieces.find(top.id);
        token.top.push_back({top.id,
                             piece == side.pieces.end() ? QStringLiteral("<%1>").arg(top.id)
                                                        : pieceText(piece->second),
                             top.logprob});
      }
    out.tokens.push_back(token);
  }
  return out;
}

QString pieceText(const std::string& bytes) { return QString::fromStdString(piece_text(bytes)); }

QString visibleToken(const QString& text) {
  return QString::fromStdString(visible_text(text.toStdString()));
}

} // namespace bitlathe::gui
