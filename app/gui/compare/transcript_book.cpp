// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/transcript_book.h"

#include <algorithm>

namespace bitlathe::gui {

namespace {

const QString stage_key = QStringLiteral("transcripts");

Json jsonOf(const Transcript& transcript) { return Json(transcripts_to_json({transcript})[0]); }

} // namespace

TranscriptBook* TranscriptBook::of(Workbench& workbench) {
  if (auto* there = workbench.findChild<TranscriptBook*>(QString(), Qt::FindDirectChildrenOnly))
    return there;
  return new TranscriptBook(workbench);
}

TranscriptBook::TranscriptBook(Workbench& workbench) : QObject(&workbench), workbench_(workbench) {
  connect(&workbench_, &Workbench::opened, this, &TranscriptBook::restore);
  restore();
}

void TranscriptBook::add(const Transcript& transcript) {
  const auto old = std::find_if(transcripts_.begin(), transcripts_.end(), [&](const auto& t) {
    return t.prompt == transcript.prompt && t.chat == transcript.chat;
  });
  if (old == transcripts_.end()) {
    transcripts_.push_back(transcript);
    revisions_.push_back(++last_revision_);
    kept_.push_back(jsonOf(transcript));
  } else {
    *old = transcript;
    revisions_[std::size_t(old - transcripts_.begin())] = ++last_revision_;
    kept_[std::size_t(old - transcripts_.begin())] = jsonOf(transcript);
  }
  keep();
}

const Transcript* TranscriptBook::find(const std::string& prompt) const {
  const auto it = std::find_if(transcripts_.rbegin(), transcripts_.rend(),
                               [&](const Transcript& t) { return t.prompt == prompt; });
  return it == transcripts_.rend() ? nullptr : &*it;
}

quint64 TranscriptBook::revision(const Transcript* transcript) const {
  return transcript ? revisions_[std::size_t(transcript - transcripts_.data())] : 0;
}

void TranscriptBook::forget() {
  transcripts_.clear();
  revisions_.clear();
  kept_ = Json::array();
  keep();
}

QString TranscriptBook::model() const {
  return workbench_.checkpoint() ? QString::fromStdString(workbench_.checkpoint()->name)
                                 : QString();
}

void TranscriptBook::keep() {
  workbench_.setStageState(stage_key, kept_);
  Q_EMIT changed();
}

void TranscriptBook::restore() {
  kept_ = workbench_.stageState(stage_key);
  transcripts_ = transcripts_from_json(kept_);
  revisions_.clear();
  for (std::size_t i = 0; i < transcripts_.size(); ++i)
    revisions_.push_back(++last_revision_);
  // In step with the list: what could not be read is not in it.
  if (!kept_.is_array() || kept_.size() != transcripts_.size())
    kept_ = Json(transcripts_to_json(transcripts_));
  Q_EMIT changed();
}

} // namespace bitlathe::gui
