// SPDX-License-Identifier: GPL-3.0-or-later
// Prompts, other models, files and what the session keeps: the part of the Compare stage that does
// not generate.
#include "app/gui/compare/compare_stage.h"

#include "app/gui/compare/panes_view.h"
#include "app/gui/compare/prompt_bar.h"
#include "app/gui/compare/prompts_card.h"
#include "app/gui/compare/transcript_book.h"
#include "app/gui/desk/desk.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/card.h"
#include "core/judge/outcome.h"
#include "core/judge/transcript_files.h"

#include <QApplication>
#include <QClipboard>
#include <QDragEnterEvent>
#include <QFileDialog>
#include <QFileInfo>
#include <QHBoxLayout>
#include <QMenu>
#include <QMimeData>
#include <QPushButton>
#include <QStackedWidget>
#include <QVBoxLayout>

namespace bitlathe::gui {
namespace {

const QString stage_key = QStringLiteral("compare");

QStringList localFiles(const QMimeData* data) {
  QStringList out;
  for (const QUrl& url : data->urls())
    if (url.isLocalFile())
      out << url.toLocalFile();
  return out;
}

bool isPromptFile(const QString& path) {
  if (!QFileInfo(path).isFile())
    return false;
  for (const char* ending : {".jsonl", ".ndjson", ".json", ".txt", ".md"})
    if (path.endsWith(QLatin1String(ending), Qt::CaseInsensitive))
      return true;
  return false;
}

QString markOf(const PromptsModel& model, int row) {
  if (model.state(row) != PromptsModel::State::done || !model.worst(row).known)
    return {};
  return model.worst(row).parts_at < 0 ? QStringLiteral("\u2713  ") : QStringLiteral("\u2260  ");
}

} // namespace

// --- prompts ------------------------------------------------------------------------------------

void CompareStage::offerSets() {
  const auto& checkpoint = workbench_.checkpoint();
  if (!checkpoint)
    return;
  QList<PromptSetOffer> offers =
      offeredPromptSets(QString::fromStdString(checkpoint->path.string()));
  if (!setPath_.isEmpty() && std::none_of(offers.begin(), offers.end(), [&](const auto& offer) {
        return offer.path == setPath_;
      }))
    offers.push_back({QFileInfo(setPath_).completeBaseName(), setPath_});
  offers_ = offers;
  bar_->setOffers(offers_, setPath_);
  if (setPath_.isEmpty() && !offers_.isEmpty())
    loadPrompts(offers_.first().path);
}

void CompareStage::loadPrompts(const QString& path) {
  workbench_.engine().run<PromptSet>(
      QStringLiteral("prompts"), tr("Reading prompts"), this,
      [path](Feedback&, Compute&) { return read_prompts(path.toStdString()); },
      [this, path](Result<PromptSet> read) {
        if (!read.ok()) {
          if (!read.error().cancelled())
            banner_->say(2, QString::fromStdString(read.error().text()));
          bar_->setOffers(offers_, setPath_);
          return;
        }
        if (running()) { // its rows are those of the set before
          banner_->say(1, tr("The set stays while its prompts run. Stop them to load another"));
          bar_->setOffers(offers_, setPath_);
          return;
        }
        const int before = rowOf(bar_->prompt().toStdString());
        const bool typed = !bar_->prompt().isEmpty() && (before < 0 || before >= setSize_);
        set_ = std::move(*read);
        setPath_ = QFileInfo(path).canonicalFilePath();
        setSize_ = int(set_.prompts.size());
        row_ = -1;
        offerSets();
        refreshPrompts();
        for (const std::string& note : set_.notes)
          banner_->say(0, tr("%1: %2 (%3 prompts)")
                              .arg(QFileInfo(path).fileName(), QString::fromStdString(note))
                              .arg(setSize_));
        if (setPath_ == generalPromptsPath() && bar_->chat().able() && !bar_->chat().wanted())
          banner_->say(0, tr("These are messages to an assistant: Chat (Alt+M) puts them into the "
                             "models' templates"));
        if (const int row = rowOf(bar_->prompt().toStdString()); row >= 0)
          choosePrompt(row);
        else if (!typed)
          choosePrompt(0);
        keepState();
        const int wanted = std::exchange(setWanted_, -1);
        if (wanted >= 0)
          rehearse(wanted);
      },
      false);
}

int CompareStage::rowOf(const std::string& prompt) const {
  const QList<Prompt>& prompts = prompts_->model().prompts();
  for (int row = 0; row < prompts.size(); ++row)
    if (prompts[row].text == prompt)
      return row;
  return -1;
}

void CompareStage::refreshPrompts() {
  QList<Prompt> prompts(set_.prompts.begin(), set_.prompts.end());
  int typed = 0;
  for (const Transcript& transcript : book_->transcripts())
    if (transcript.set.empty() && std::none_of(prompts.begin(), prompts.end(), [&](const auto& p) {
          return p.text == transcript.prompt;
        }))
      prompts.push_back({tr("typed %1").arg(++typed).toStdString(), transcript.prompt, {}});
  PromptsModel& model = prompts_->model();
  const auto same = [](const Prompt& a, const Prompt& b) {
    return a.text == b.text && a.id == b.id;
  };
  const bool anew = !std::equal(prompts.begin(), prompts.end(), model.prompts().begin(),
                                model.prompts().end(), same);
  if (anew)
    model.setPrompts(prompts);
  QList<QString> marks;
  for (int row = 0; row < prompts.size(); ++row) {
    const Transcript* kept = book_->find(prompts[row].text);
    model.setTranscript(row, kept, book_->revision(kept));
    marks.push_back(markOf(model, row));
    if (!anew)
      bar_->setMark(row, marks.back());
  }
  if (anew) {
    bar_->setPrompts(prompts, marks);
    row_ = rowOf(bar_->prompt().toStdString());
    bar_->setCurrent(row_);
    prompts_->setCurrent(row_);
    model.setRunning(running() ? rows_.value(runner_->prompt(), -1) : -1);
  }
  QString name = QString::fromStdString(set_.name);
  for (const PromptSetOffer& offer : offers_)
    if (offer.path == setPath_)
      name = offer.title;
  prompts_->setReadout(setSize_ == 0 ? QString() : tr("%1, %2").arg(name).arg(setSize_));
  refreshSummary();
  refreshButtons();
}

void CompareStage::refreshSummary() {
  const PromptsModel& model = prompts_->model();
  std::vector<std::vector<Outcome>> by_side;
  QStringList titles;
  for (int row = 0; row < model.rowCount(); ++row) {
    const auto& outcomes = model.outcomes(row);
    by_side.resize(std::max(by_side.size(), outcomes.size()));
    for (std::size_t side = 0; side < outcomes.size(); ++side)
      by_side[side].push_back(outcomes[side]);
    if (model.titles(row).size() > titles.size())
      titles = model.titles(row);
  }
  QStringList lines;
  QString brief;
  for (std::size_t side = 1; side < by_side.size(); ++side) {
    const SetOutcome all = sum_of(by_side[side]);
    if (all.prompts == 0)
      continue;
    QString line = tr("<b>%1</b>: %2 of %3 the same (95 %: %4 to %5)")
                       .arg(titles.value(qsizetype(side)).toHtmlEscaped())
                       .arg(all.same)
                       .arg(all.prompts)
                       .arg(formatPercent(all.same_low, 0), formatPercent(all.same_high, 0));
    if (all.median_parts_at >= 0)
      line += tr(", median first difference at token %1").arg(all.median_parts_at + 1);
    if (all.kl_prompts > 1)
      line += tr(", mean KL %1").arg(formatError(all.kl_mean, all.kl_stderr));
    lines << line;
    if (side == 1 && all.prompts > 1)
      brief = tr("%1 of %2 prompts the same").arg(all.same).arg(all.prompts);
  }
  prompts_->showSummary(lines.join(QStringLiteral("<br>")));
  panes_->setSummary(brief);
}

void CompareStage::choosePrompt(int row) {
  const QList<Prompt>& prompts = prompts_->model().prompts();
  if (row < 0 || row >= prompts.size())
    return;
  row_ = row;
  bar_->setCurrent(row);
  prompts_->setCurrent(row);
  bar_->setPrompt(QString::fromStdString(prompts[row].text));
  const bool runs = running() && rows_.value(runner_->prompt(), -1) == row;
  if (runs) {
    if (!live_) {
      live_ = true;
      showIdle(bar_->prompt());
      sides_ = runner_->sides();
      panes_->show(sides_);
    }
  } else {
    live_ = false;
    if (const Transcript* transcript = book_->find(prompts[row].text))
      showTranscript(*transcript);
    else
      showIdle(bar_->prompt());
  }
  refreshButtons();
}

void CompareStage::nextPrompt(int by) {
  const int count = int(prompts_->model().prompts().size());
  if (count > 0)
    choosePrompt(row_ < 0 ? (by > 0 ? 0 : count - 1) : (row_ + by + count) % count);
}

void CompareStage::askPrompts() {
  bar_->setOffers(offers_, setPath_); // "Import" is no set
  auto* dialog =
      new QFileDialog(this, tr("Import prompts"), QFileInfo(setPath_).absolutePath(),
                      tr("Prompt sets (*.jsonl *.ndjson *.json *.txt *.md);;All files (*)"));
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setFileMode(QFileDialog::ExistingFile);
  connect(dialog, &QFileDialog::fileSelected, this, &CompareStage::loadPrompts);
  dialog->open();
}

// --- models -------------------------------------------------------------------------------------

void CompareStage::addContender() {
  auto* menu = new QMenu(this);
  menu->setAttribute(Qt::WA_DeleteOnClose);
  menu->setToolTipsVisible(true);
  QStringList there;
  for (const Contender& contender : workbench_.contenders())
    if (contender.checkpoint)
      there << QString::fromStdString(contender.checkpoint->path.string());
  const auto offer = [&](const QString& title, const QString& path) {
    if (there.contains(path) || !QFileInfo::exists(path))
      return;
    there << path;
    QAction* action = menu->addAction(title, this, [this, path] { workbench_.addContender(path); });
    action->setToolTip(path);
  };
  const std::vector<SessionVariant>& variants = workbench_.variants();
  for (int i = 0; i < int(variants.size()); ++i)
    if (i != workbench_.currentVariant() && workbench_.variantKept(i))
      offer(tr("Variant: %1").arg(QString::fromStdString(variants[std::size_t(i)].title)),
            QString::fromStdString(variants[std::size_t(i)].result));
  for (const ExportOutcome& outcome : workbench_.exports()) {
    const QString path = QString::fromStdString(outcome.path.string());
    offer(tr("Export: %1").arg(QFileInfo(path).fileName()), path);
  }
  if (workbench_.second())
    offer(tr("Open beside: %1").arg(QString::fromStdString(workbench_.second()->name)),
          QString::fromStdString(workbench_.second()->path.string()));
  if (!menu->isEmpty())
    menu->addSeparator();
  const auto ask = [this](QFileDialog::FileMode mode) {
    auto* dialog = new QFileDialog(this, tr("Add model"));
    dialog->setAttribute(Qt::WA_DeleteOnClose);
    dialog->setFileMode(mode);
    if (mode == QFileDialog::Directory)
      dialog->setOption(QFileDialog::ShowDirsOnly);
    else
      dialog->setNameFilter(tr("Checkpoints (*.gguf *.safetensors);;All files (*)"));
    connect(dialog, &QFileDialog::fileSelected, this,
            [this](const QString& path) { workbench_.addContender(path); });
    dialog->open();
  };
  menu->addAction(tr("Folder\u2026"), this, [ask] { ask(QFileDialog::Directory); });
  menu->addAction(tr("File\u2026"), this, [ask] { ask(QFileDialog::ExistingFile); });
  QWidget* anchor = bar_->addAnchor();
  menu->popup(anchor->mapToGlobal(QPoint(0, anchor->height())));
}

void CompareStage::dragEnterEvent(QDragEnterEvent* event) {
  const QStringList files = localFiles(event->mimeData());
  const bool room = workbench_.contenders().size() < most_contenders;
  if (!contenders_.isEmpty() && std::any_of(files.begin(), files.end(), [&](const QString& path) {
        return room || isPromptFile(path);
      }))
    event->acceptProposedAction();
}

void CompareStage::dropEvent(QDropEvent* event) {
  auto room = most_contenders - workbench_.contenders().size();
  for (const QString& path : localFiles(event->mimeData())) {
    if (isPromptFile(path))
      loadPrompts(path);
    else if (room-- > 0)
      workbench_.addContender(path);
    else
      banner_->say(1, tr("Four models are compared at most; %1 was left out").arg(path));
  }
  event->acceptProposedAction();
}

void CompareStage::openDesk() {
  if (!desk_) {
    desk_ = new QWidget(pages_);
    auto* column = new QVBoxLayout(desk_);
    column->setContentsMargins(space::m, space::m, space::m, space::m);
    column->setSpacing(space::s);
    auto* row = new QHBoxLayout;
    auto* back = new QPushButton(tr("\u2039 Side by side"), desk_);
    back->setToolTip(tr("Back to the texts; votes stay (Alt+B)"));
    back->setShortcut(QKeySequence(Qt::ALT | Qt::Key_B));
    connect(back, &QPushButton::clicked, this, [this] { pages_->setCurrentIndex(1); });
    row->addWidget(back);
    row->addStretch(1);
    column->addLayout(row);
    QWidget* inside = makeDesk(workbench_, desk_);
    column->addWidget(inside, 1);
    desk_->setFocusProxy(inside);
    pages_->addWidget(desk_);
  }
  pages_->setCurrentWidget(desk_);
  desk_->setFocus(Qt::OtherFocusReason);
}

// --- transcripts --------------------------------------------------------------------------------

void CompareStage::buildTranscriptMenu() {
  QMenu* menu = bar_->transcriptMenu();
  menu->addAction(tr("Copy as Markdown"), this, [this] {
    QApplication::clipboard()->setText(QString::fromStdString(
        transcripts_markdown(book_->transcripts(), book_->model().toStdString())));
  });
  menu->addAction(tr("Save as a page (HTML)\u2026"), this,
                  [this] { saveTranscripts(QStringLiteral("html"), tr("Web page (*.html)")); });
  menu->addAction(tr("Save as Markdown\u2026"), this,
                  [this] { saveTranscripts(QStringLiteral("md"), tr("Markdown (*.md)")); });
  menu->addAction(tr("Save as JSON\u2026"), this,
                  [this] { saveTranscripts(QStringLiteral("json"), tr("JSON (*.json)")); });
  menu->addSeparator();
  menu->addAction(tr("Forget all"), this, &CompareStage::forget);
}

void CompareStage::saveTranscripts(const QString& ending, const QString& filter) {
  auto* dialog = new QFileDialog(this, tr("Save transcripts"));
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setAcceptMode(QFileDialog::AcceptSave);
  dialog->setNameFilter(filter);
  dialog->setDefaultSuffix(ending);
  dialog->selectFile(QStringLiteral("transcripts.") + ending);
  connect(dialog, &QFileDialog::fileSelected, this, [this](const QString& path) {
    workbench_.engine().run<int>(
        QStringLiteral("save-transcripts"), tr("Saving transcripts"), this,
        [path, all = book_->transcripts(),
         model = book_->model().toStdString()](Feedback&, Compute&) -> Result<int> {
          TRY(write_transcripts(all, model, path.toStdString()));
          return 0;
        },
        [this](const Result<int>& saved) {
          if (!saved.ok() && !saved.error().cancelled())
            banner_->say(2, QString::fromStdString(saved.error().text()));
        },
        false);
  });
  dialog->open();
}

void CompareStage::forget() {
  book_->forget();
  showIdle(bar_->prompt());
}

// --- session ------------------------------------------------------------------------------------

void CompareStage::keepState() {
  if (restoring_ || !workbench_.checkpoint())
    return;
  const TranscriptSampling s = bar_->sampling().sampling();
  workbench_.setStageState(stage_key, {{"prompt", bar_->prompt().toStdString()},
                                       {"chat", bar_->chat().wanted()},
                                       {"system", bar_->chat().system().toStdString()},
                                       {"prompts", setPath_.toStdString()},
                                       {"temperature", s.temperature},
                                       {"top_k", s.top_k},
                                       {"top_p", s.top_p},
                                       {"seed", s.seed},
                                       {"max_new", s.max_new},
                                       {"shading", int(panes_->shading())},
                                       {"difference", panes_->showsDifference()}});
}

void CompareStage::restoreState() {
  const Json kept = workbench_.stageState(stage_key);
  setPath_.clear();
  set_ = {};
  setSize_ = 0;
  row_ = -1;
  restoring_ = true;
  if (!kept.is_object()) {
    setPrompt({});
    refreshPrompts();
    restoring_ = false;
    return;
  }
  const auto text = [&](const char* key) {
    const auto it = kept.find(key);
    return it != kept.end() && it->is_string() ? QString::fromStdString(it->get<std::string>())
                                               : QString();
  };
  const auto number = [&](const char* key, double otherwise) {
    const auto it = kept.find(key);
    return it != kept.end() && it->is_number() ? it->get<double>() : otherwise;
  };
  const auto whole = [&](const char* key, double otherwise) {
    return std::int64_t(std::clamp(number(key, otherwise), 0.0, 4e9));
  };
  const auto flag = [&](const char* key) {
    const auto it = kept.find(key);
    return it != kept.end() && it->is_boolean() && it->get<bool>();
  };
  setPrompt(text("prompt"));
  setChat(flag("chat"), text("system"));
  setSampling({number("temperature", 0), number("top_p", 1), whole("top_k", 0),
               whole("max_new", 64), std::uint64_t(whole("seed", 0))});
  panes_->setShading(TokenView::Shading(std::clamp<std::int64_t>(whole("shading", 0), 0, 3)));
  panes_->showDifference(flag("difference"));
  if (const QString path = text("prompts"); QFileInfo::exists(path)) {
    setPath_ = QFileInfo(path).canonicalFilePath();
    loadPrompts(path);
  }
  refreshPrompts();
  restoring_ = false;
}

} // namespace bitlathe::gui
