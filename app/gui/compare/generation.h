// SPDX-License-Identifier: GPL-3.0-or-later
// One generation as it is shown: tokens with the text they add, their probabilities and the
// alternatives; streamed by a run or taken from a transcript.
#pragma once

#include "core/judge/token_text.h"
#include "core/judge/transcripts.h"

#include <QByteArray>
#include <QList>
#include <QString>

namespace bitlathe::gui {

/// One of the likeliest tokens at a step.
struct Alternative {
  qint32 id = 0;
  QString text;
  double logprob = 0;
};

struct ShownToken {
  qint32 id = 0;
  QByteArray bytes; ///< what the token adds to the text
  QString text;     ///< the characters that are complete with this token; may be empty
  bool hasLogprob = false;
  double logprob = 0;
  QList<Alternative> top; ///< likeliest first; empty when not asked for
};

/// The prompt as a message in a conversation.
struct ChatShown {
  bool on = false;
  QString system;
  bool operator==(const ChatShown& other) const = default;
};

enum class GenerationState { idle, waiting, running, done, stopped, failed };

struct Generation {
  QString title;  ///< of the contender
  QString detail; ///< path
  GenerationState state = GenerationState::idle;
  QString problem;    ///< why it failed or cannot run
  QString step;       ///< while it waits: "loading weights"
  QString stopReason; ///< "eos", "length", "context"
  QString prompt;
  QString rendered;         ///< in a conversation: the prompt as the model's template makes it
  QList<ShownToken> tokens; ///< new ones only
  QList<double> kl;         ///< per token of the reference's text; see TranscriptSide
  QList<double> forced;     ///< log-probabilities there
  QString klProblem;
  double promptSeconds = 0, seconds = 0;
  qsizetype promptTokens = 0;
  quint64 peakBytes = 0, kvBytes = 0;

  bool finished() const { return state == GenerationState::done; }
  double tokensPerSecond() const { return seconds > 0 ? double(tokens.size()) / seconds : 0; }
  double promptTokensPerSecond() const {
    return promptSeconds > 0 ? double(promptTokens) / promptSeconds : 0;
  }
  QString text() const;
  Pieces pieces() const;
};

/// All but the text of the tokens.
void takeFigures(Generation& generation, const TranscriptSide& side);
/// Everything, of a run that is over.
Generation generationOf(const Transcript& transcript, std::size_t side);

/// Text of one token alone: characters where its bytes are some, else the bytes as <E2>.
QString pieceText(const std::string& bytes);
/// A token's text for people: spaces and line breaks made visible.
QString visibleToken(const QString& text);

} // namespace bitlathe::gui
