// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/evaluation_text.h"

#include "app/gui/calibration/drawn_set.h"

#include <algorithm>
#include <QDir>
#include <QFileInfo>

namespace bitlathe::gui {
namespace {

const QString stage_key = QStringLiteral("evaluate");

} // namespace

EvaluationText& EvaluationText::of(Workbench& workbench) {
  auto* existing = workbench.findChild<EvaluationText*>({}, Qt::FindDirectChildrenOnly);
  return existing ? *existing : *new EvaluationText(workbench);
}

EvaluationText::EvaluationText(Workbench& workbench) : QObject(&workbench), workbench_(workbench) {
  settle_.setSingleShot(true);
  settle_.setInterval(150);
  connect(&settle_, &QTimer::timeout, this, &EvaluationText::look);
  connect(&workbench, &Workbench::opened, this, &EvaluationText::restore);
  connect(&workbench, &Workbench::contendersChanged, &settle_, qOverload<>(&QTimer::start));
  connect(&DrawnSet::of(workbench), &DrawnSet::changed, &settle_, qOverload<>(&QTimer::start));
  restore();
}

void EvaluationText::restore() {
  choice_ = {};
  if (const auto& model = workbench_.checkpoint()) {
    const Json kept = workbench_.stageState(stage_key);
    const auto number = [&](const char* key, int otherwise) {
      const auto it = kept.is_object() ? kept.find(key) : kept.end();
      return it != kept.end() && it->is_number() ? it->get<int>() : otherwise;
    };
    const auto word = [&](const char* key) {
      const auto it = kept.is_object() ? kept.find(key) : kept.end();
      return it != kept.end() && it->is_string() ? QString::fromStdString(it->get<std::string>())
                                                 : QString();
    };
    // A quarter of the trained context, at most the usual 512.
    const qint64 trained = model->spec ? qint64(model->spec->context) : 2048;
    choice_.context = number("context", int(std::clamp<qint64>(trained / 4, 8, 512)));
    choice_.windows = number("windows", 32);
    const QString folder = QString::fromStdString(model->path.string());
    for (const QString& place :
         {word("text"), QDir(folder).filePath(QStringLiteral("evaluation.txt")),
          QFileInfo(folder).dir().filePath(QStringLiteral("evaluation.txt")),
          QDir(demoModelPath()).filePath(QStringLiteral("evaluation.txt"))})
      if (choice_.path.isEmpty() && !place.isEmpty() && QFileInfo(place).isFile())
        choice_.path = place;
    if (choice_.path == word("text"))
      choice_.part = word("part");
  }
  read_ = {};
  notes_.clear();
  set_note_.clear();
  settle_.start();
  Q_EMIT changed();
  Q_EMIT overlapsChanged();
}

void EvaluationText::choose(const Choice& choice) {
  if (choice == choice_)
    return;
  choice_ = choice;
  if (workbench_.checkpoint())
    workbench_.setStageState(stage_key, {{"text", choice_.path.toStdString()},
                                         {"part", choice_.part.toStdString()},
                                         {"context", choice_.context},
                                         {"windows", choice_.windows}});
  settle_.start();
  Q_EMIT changed();
}

CalibrationFile EvaluationText::file() const {
  CalibrationFile file;
  file.path = choice_.path.toStdString();
  file.split = choice_.part.toStdString();
  return file;
}

void EvaluationText::read(const QString& purpose, QObject* context,
                          std::function<void(Result<Judged>)> then) {
  const auto model = workbench_.checkpoint();
  if (!model || choice_.path.isEmpty())
    return;
  workbench_.engine().run<Judged>(
      QStringLiteral("evaluation-text:") + purpose, tr("Reading the text"), context,
      [model, file = file(), choice = choice_](Feedback&, Compute&) -> Result<Judged> {
        TRY_ASSIGN(auto judged,
                   read_judged_text(*model, file, choice.context, choice.windows, true));
        return std::make_shared<const JudgedFile>(std::move(judged));
      },
      [this, model, then = std::move(then)](Result<Judged> judged) {
        then(model == workbench_.checkpoint() ? std::move(judged)
                                              : Result<Judged>(cancelled_error()));
      },
      QFileInfo(choice_.path).size() > quick_text);
}

void EvaluationText::look() {
  const auto source = workbench_.checkpoint();
  if (!source || !source->tokenizer || choice_.path.isEmpty()) {
    if (!notes_.isEmpty() || !set_note_.isEmpty()) {
      notes_.clear();
      set_note_.clear();
      Q_EMIT overlapsChanged();
    }
    return;
  }
  Read known{source, choice_.path, choice_.part, QFileInfo(choice_.path).lastModified(), nullptr};
  if (read_.checkpoint == known.checkpoint && read_.path == known.path &&
      read_.part == known.part && read_.written == known.written)
    known.judged = read_.judged;
  workbench_.engine().run<Overlaps>(
      QStringLiteral("evaluation-overlap"), tr("Looking for calibration text"), this,
      [known, file = file(), choice = choice_, sides = workbench_.contenders(),
       set = DrawnSet::of(workbench_).set()](Feedback&, Compute&) -> Result<Overlaps> {
        Overlaps out;
        out.read = known;
        if (!known.judged) {
          TRY_ASSIGN(auto judged, read_judged_text(*known.checkpoint, file, choice.context,
                                                   choice.windows, true));
          out.read.judged = std::make_shared<const JudgedFile>(std::move(judged));
        }
        const JudgedFile& judged = *out.read.judged;
        for (const Contender& side : sides)
          for (const auto& note :
               overlap_notes(find_record(side.checkpoint->path),
                             {judged.source, judged.text.ids, choice.context, choice.windows},
                             side.title.toStdString()))
            out.notes << QString::fromStdString(note) + '.';
        if (!set)
          return out;
        auto met = windows_that_overlap(set->record, judged.text.ids, choice.context);
        if (choice.windows > 0 && met.size() > std::size_t(choice.windows))
          met.resize(std::size_t(choice.windows));
        if (const auto count = std::count(met.begin(), met.end(), true); count > 0)
          out.set_note =
              tr("%1, which Evaluate measures on, shares text with this set: %2 of its %3 windows. "
                 "Figures on them will flatter the result: use the part \"calibration\" here and "
                 "\"evaluation\" there, or another text.")
                  .arg(QFileInfo(choice.path).fileName())
                  .arg(count)
                  .arg(met.size());
        return out;
      },
      [this, known](Result<Overlaps> found) {
        if (workbench_.checkpoint() != known.checkpoint || choice_.path != known.path ||
            choice_.part != known.part)
          return;
        if (!found && found.error().cancelled())
          return;
        if (found)
          read_ = found->read;
        const Overlaps now =
            found ? std::move(*found) : Overlaps{}; // measuring tells what is wrong
        if (now.notes == notes_ && now.set_note == set_note_)
          return;
        notes_ = now.notes;
        set_note_ = now.set_note;
        Q_EMIT overlapsChanged();
      },
      !known.judged && QFileInfo(choice_.path).size() > quick_text);
}

} // namespace bitlathe::gui
