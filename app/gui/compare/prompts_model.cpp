// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/prompts_model.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/delegates.h"

#include <cmath>

namespace bitlathe::gui {

void PromptsModel::setPrompts(const QList<Prompt>& prompts) {
  beginResetModel();
  prompts_ = prompts;
  rows_ = QList<Row>(prompts.size());
  running_ = -1;
  endResetModel();
}

void PromptsModel::setTranscript(int row, const Transcript* transcript, quint64 revision) {
  if (row < 0 || row >= rows_.size() || rows_[row].revision == revision)
    return;
  Row fresh;
  fresh.revision = revision;
  if (transcript) {
    fresh.state = transcript->complete() ? State::done : State::stopped;
    QStringList lines;
    for (std::size_t side = 0; side < transcript->sides.size(); ++side) {
      const TranscriptSide& one = transcript->sides[side];
      if (one.failed()) {
        fresh.state = State::failed;
        lines << QString::fromStdString(one.title + ": " + one.problem);
      }
      fresh.titles << QString::fromStdString(one.title);
      const Outcome came = outcome_of(*transcript, side);
      fresh.outcomes.push_back(came);
      if (!came.known)
        continue;
      QString line = QString::fromStdString(one.title + ": " + outcome_text(came));
      if (came.kl_tokens > 0)
        line += tr("; mean KL %1 along the first model's text, %2 up to where they part")
                    .arg(formatNumber(came.kl_mean, 3), formatNumber(came.kl_mean_common, 3));
      lines << line;
      const auto at = [](const Outcome& o) { return o.parts_at < 0 ? INT64_MAX : o.parts_at; };
      if (!fresh.worst.known || at(came) < at(fresh.worst) ||
          (at(came) == at(fresh.worst) && came.kl_mean > fresh.worst.kl_mean))
        fresh.worst = came;
    }
    fresh.detail = lines.join(QLatin1Char('\n'));
  }
  rows_[row] = fresh;
  Q_EMIT dataChanged(index(row, 0), index(row, column_count - 1));
}

void PromptsModel::setRunning(int row) {
  const int before = std::exchange(running_, row);
  for (const int changed : {before, row})
    if (changed >= 0 && changed < rows_.size())
      Q_EMIT dataChanged(index(changed, 0), index(changed, column_count - 1));
}

int PromptsModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : int(prompts_.size());
}
int PromptsModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : column_count;
}

QString PromptsModel::outcomeText(int row) const {
  const Row& one = rows_[row];
  if (row == running_)
    return tr("running \u2026");
  switch (one.state) {
  case State::open:
    return {};
  case State::stopped:
    return tr("stopped");
  case State::failed:
    if (!one.worst.known)
      return tr("cannot run");
    break;
  default:
    break;
  }
  if (!one.worst.known)
    return tr("written");
  return one.worst.parts_at < 0 ? tr("\u2713 the same")
                                : tr("\u2260 at token %1").arg(one.worst.parts_at + 1);
}

QVariant PromptsModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid() || index.row() >= prompts_.size())
    return {};
  const Prompt& prompt = prompts_[index.row()];
  const Row& row = rows_[index.row()];
  if (role == Qt::ToolTipRole) {
    QString tip = QString::fromStdString(prompt.text);
    if (tip.size() > 600)
      tip = tip.left(600) + QChar(0x2026);
    if (!prompt.kind.empty())
      tip = QStringLiteral("[%1] ").arg(QString::fromStdString(prompt.kind)) + tip;
    return row.detail.isEmpty() ? tip : tip + QStringLiteral("\n\n") + row.detail;
  }
  if (role == faded_role)
    return row.state == State::open && index.row() != running_;
  if (role == Qt::TextAlignmentRole && index.column() == divergence)
    return int(Qt::AlignRight | Qt::AlignVCenter);
  if (role == Qt::FontRole && index.column() == divergence)
    return numberFont();
  if (role == Qt::ForegroundRole && index.column() == outcome) {
    if (row.state == State::failed)
      return theme().error;
    if (row.worst.known)
      return row.worst.parts_at < 0 ? theme().ok : theme().warning;
    return theme().muted;
  }
  if (role == sort_role) {
    switch (index.column()) {
    case outcome:
      return row.worst.known
                 ? (row.worst.parts_at < 0 ? qlonglong(INT64_MAX) : qlonglong(row.worst.parts_at))
                 : qlonglong(-1);
    case divergence:
      return row.worst.kl_tokens > 0 ? row.worst.kl_mean : -1.0;
    case id:
      return index.row();
    default:
      break;
    }
  }
  if (role != Qt::DisplayRole && role != sort_role)
    return {};
  switch (index.column()) {
  case id:
    return QString::fromStdString(prompt.id);
  case text:
    return QString::fromStdString(prompt.text).simplified().left(400);
  case outcome:
    return outcomeText(index.row());
  case divergence:
    return row.worst.kl_tokens > 0 ? formatNumber(row.worst.kl_mean, 3) : QString();
  default:
    return {};
  }
}

QVariant PromptsModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal)
    return {};
  static const char* const titles[] = {QT_TR_NOOP("Id"), QT_TR_NOOP("Prompt"),
                                       QT_TR_NOOP("Outcome"), QT_TR_NOOP("Mean KL")};
  static const char* const tips[] = {
      QT_TR_NOOP("Name of the prompt in its set"), QT_TR_NOOP("Click to see what was written"),
      QT_TR_NOOP("Whether all models wrote the same tokens, or the first token that differs"),
      QT_TR_NOOP("KL divergence per token in nats, every model reading the first one's text; of "
                 "several models the one that parts first")};
  if (role == Qt::DisplayRole)
    return tr(titles[section]);
  if (role == Qt::ToolTipRole)
    return tr(tips[section]);
  if (role == Qt::TextAlignmentRole)
    return int((section == divergence ? Qt::AlignRight : Qt::AlignLeft) | Qt::AlignVCenter);
  return {};
}

} // namespace bitlathe::gui
