// SPDX-License-Identifier: GPL-3.0-or-later
// The item models of the shell and of Inspect and Plan, on the demo model: consistent under
// QAbstractItemModelTester, filtered, sorted, edited through the Workbench, undone and redone.
#include "app/gui/format.h"
#include "app/gui/inspect/plot_axes.h"
#include "app/gui/plan/rule_model.h"
#include "app/gui/shell/statistics_model.h"
#include "app/gui/theme.h"
#include "app/gui/tree/layer_filter.h"
#include "app/gui/tree/layer_model.h"
#include "app/gui/tree/layer_panel.h"
#include "app/gui/widgets/delegates.h"
#include "app/gui/widgets/save_menu.h"
#include "app/gui/workbench.h"
#include "tests/support.h"

#include <QAbstractItemModelTester>
#include <QItemSelectionModel>
#include <QSignalSpy>
#include <QStandardPaths>
#include <QTemporaryDir>
#include <QTest>
#include <QTreeView>
#include <QUndoStack>

using namespace bitlathe;
using namespace bitlathe::gui;

class GuiModelsTest : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase();
  void init();
  void cleanup();
  void layer_tree();
  void layer_filter();
  void layer_sorting();
  void edit_one_module();
  void edit_the_selection();
  void exclude_and_include();
  void rules();
  void statistics_table();
  void selection_is_shared();
  void csv();
  void formats();
  void ticks();
  void precision_palette_is_ordered();
  void broken_plan_is_told();

 private:
  QTemporaryDir kept_;
  std::unique_ptr<Workbench> bench_;
};

void GuiModelsTest::initTestCase() {
  QStandardPaths::setTestModeEnabled(true);
  Workbench::setKeptFolder(kept_.path());
}

void GuiModelsTest::init() {
  bench_ = std::make_unique<Workbench>();
  QSignalSpy opened(bench_.get(), &Workbench::opened);
  bench_->open(QString::fromStdString(test::demo_model().string()));
  QVERIFY(opened.wait(10000));
  QVERIFY2(bench_->plan(), qPrintable(bench_->planError()));
}

void GuiModelsTest::cleanup() { bench_.reset(); }

void GuiModelsTest::layer_tree() {
  LayerModel model(*bench_);
  QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
  // embedding, four blocks, final norm, head
  QCOMPARE(model.rowCount(), 7);
  int blocks = 0;
  for (int row = 0; row < model.rowCount(); ++row)
    blocks += model.rowCount(model.index(row, 0)) > 0;
  QCOMPARE(blocks, 4);
  const QModelIndex q = model.indexOf("model.layers.2.self_attn.q_proj");
  QVERIFY(q.isValid());
  QCOMPARE(q.data().toString(), QString("self_attn.q_proj"));
  QCOMPARE(q.siblingAtColumn(int(TreeColumn::shape)).data().toString(), QString("256 × 256"));
  QCOMPARE(q.siblingAtColumn(int(TreeColumn::precision)).data(bits_role).toDouble(), 4.0);
  QCOMPARE(model.modulesOf(q.parent()).size(), model.rowCount(q.parent()));
  model.setGrouped(false);
  QCOMPARE(model.rowCount(), int(bench_->checkpoint()->modules.size()));
  QVERIFY(model.indexOf("lm_head").isValid());
  model.setGrouped(true);
  bench_->open(QString::fromStdString(test::demo_model().string())); // reset under the tester
  QSignalSpy opened(bench_.get(), &Workbench::opened);
  QVERIFY(opened.wait(10000));
  QCOMPARE(model.rowCount(), 7);
}

void GuiModelsTest::layer_filter() {
  LayerModel model(*bench_);
  LayerFilter filter(model);
  QAbstractItemModelTester tester(&filter, QAbstractItemModelTester::FailureReportingMode::QtTest);
  const auto leaves = [&] {
    int n = 0;
    for (int row = 0; row < filter.rowCount(); ++row) {
      const int children = filter.rowCount(filter.index(row, 0));
      n += children > 0 ? children : 1;
    }
    return n;
  };
  const int all = leaves();
  QCOMPARE(all, int(bench_->checkpoint()->modules.size()));
  filter.setSearch("down");
  QCOMPARE(leaves(), 4);
  filter.setSearch("block 1 proj");
  QCOMPARE(leaves(), 7);
  filter.setSearch("no such layer");
  QCOMPARE(filter.rowCount(), 0);
  filter.setSearch("");
  filter.setRoles({"q_proj", "lm_head"});
  QCOMPARE(leaves(), 5);
  filter.setRoles({});
  QCOMPARE(leaves(), all);
}

void GuiModelsTest::layer_sorting() {
  LayerModel model(*bench_);
  model.setGrouped(false);
  LayerFilter filter(model);
  filter.sort(int(TreeColumn::size), Qt::DescendingOrder);
  double last = 1e18;
  for (int row = 0; row < filter.rowCount(); ++row) {
    const double bytes = filter.index(row, int(TreeColumn::size)).data(sort_role).toDouble();
    QVERIFY(bytes <= last);
    last = bytes;
  }
  filter.sort(0, Qt::AscendingOrder);
  QCOMPARE(filter.index(0, 0).data(module_role).toString(),
           QString::fromStdString(bench_->checkpoint()->modules.front().name));
}

void GuiModelsTest::edit_one_module() {
  LayerModel model(*bench_);
  const QString name = "model.layers.0.mlp.down_proj";
  bench_->select({"model.layers.1.mlp.up_proj"});
  const QModelIndex cell = model.indexOf(name).siblingAtColumn(int(TreeColumn::precision));
  QVERIFY(model.flags(cell) & Qt::ItemIsEditable);
  QVERIFY(model.setData(cell, "int8-channel-sym", Qt::EditRole));
  QCOMPARE(cell.data().toString(), QString("int8-channel-sym"));
  QCOMPARE(bench_->plan()->find("model.layers.1.mlp.up_proj")->scheme.id,
           std::string("int4-g128-asym")); // not part of the edit
  QCOMPARE(bench_->recipe().rules.size(), std::size_t(1));
  bench_->undoStack().undo();
  QCOMPARE(cell.data().toString(), QString("int4-g128-asym"));
  QVERIFY(bench_->recipe().rules.empty());
  bench_->undoStack().redo();
  QCOMPARE(cell.data().toString(), QString("int8-channel-sym"));
  QVERIFY(bench_->modified());
  bench_->resetModules({name});
  QCOMPARE(cell.data().toString(), QString("int4-g128-asym"));
}

void GuiModelsTest::edit_the_selection() {
  LayerModel model(*bench_);
  QStringList values;
  for (const auto& module : bench_->checkpoint()->modules)
    if (module.role == "v_proj")
      values += QString::fromStdString(module.name);
  QCOMPARE(values.size(), 4);
  bench_->select(values);
  QVERIFY(model.setData(model.indexOf(values[1]).siblingAtColumn(int(TreeColumn::precision)),
                        "int6-g32-asym", Qt::EditRole));
  for (const auto& name : values)
    QCOMPARE(bench_->plan()->find(name.toStdString())->scheme.id, std::string("int6-g32-asym"));
  QVERIFY(model.setData(model.indexOf(values[0]).siblingAtColumn(int(TreeColumn::method)), "mse",
                        Qt::EditRole));
  QCOMPARE(bench_->plan()->find(values[3].toStdString())->method, std::string("mse"));
  QCOMPARE(bench_->undoStack().count(), 2); // one step for all four modules
  bench_->undoStack().undo();
  bench_->undoStack().undo();
  QVERIFY(bench_->recipe() == Recipe());
}

void GuiModelsTest::exclude_and_include() {
  LayerModel model(*bench_);
  bench_->select({"model.layers.0.self_attn.q_proj"});
  const auto ticked = [&](const QString& name) {
    return model.indexOf(name)
               .siblingAtColumn(int(TreeColumn::include))
               .data(Qt::CheckStateRole)
               .toInt() == Qt::Checked;
  };
  QVERIFY(ticked("model.layers.0.self_attn.q_proj"));
  QVERIFY(!ticked("lm_head"));
  QVERIFY(model.setData(model.indexOf("lm_head").siblingAtColumn(int(TreeColumn::include)),
                        Qt::Checked, Qt::CheckStateRole));
  QVERIFY(ticked("lm_head"));
  // A block's box acts on all of its modules.
  const QModelIndex block = model.indexOf("model.layers.3.mlp.up_proj")
                                .parent()
                                .siblingAtColumn(int(TreeColumn::include));
  QVERIFY(model.setData(block, Qt::Unchecked, Qt::CheckStateRole));
  QCOMPARE(block.data(Qt::CheckStateRole).toInt(), int(Qt::Unchecked));
  QVERIFY(!ticked("model.layers.3.mlp.up_proj"));
  // Choosing a precision takes an excluded module back in.
  bench_->setModules({"model.layers.3.mlp.up_proj"}, "int8-channel-sym", {});
  QVERIFY(ticked("model.layers.3.mlp.up_proj"));
  QCOMPARE(block.data(Qt::CheckStateRole).toInt(), int(Qt::PartiallyChecked));
}

void GuiModelsTest::rules() {
  RuleModel model(*bench_);
  QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
  QCOMPARE(model.rowCount(), 0);
  model.addRule("*.v_proj");
  model.addRule("*");
  model.addExclusion("*.layers.0.*");
  QCOMPARE(model.rowCount(), 3);
  QVERIFY(model.isExclusion(2) && !model.isExclusion(1));
  QCOMPARE(model.index(0, RuleModel::matches).data().toString(), QString("4"));
  QVERIFY(model.setData(model.index(0, RuleModel::scheme), "int8-channel-sym", Qt::EditRole));
  QVERIFY(model.setData(model.index(1, RuleModel::scheme), "int3-g128-asym", Qt::EditRole));
  // The last matching rule wins: moved down, the narrow one does.
  QCOMPARE(bench_->plan()->find("model.layers.1.self_attn.v_proj")->scheme.id,
           std::string("int3-g128-asym"));
  model.move(0, 1);
  QCOMPARE(bench_->plan()->find("model.layers.1.self_attn.v_proj")->scheme.id,
           std::string("int8-channel-sym"));
  QCOMPARE(bench_->plan()->find("model.layers.0.self_attn.v_proj")->reason_kind,
           std::string("excluded"));
  QVERIFY(!model.canMove(1, 1)); // rules do not move among the exclusions
  QVERIFY(model.setData(model.index(0, RuleModel::pattern), "re:(", Qt::EditRole));
  QCOMPARE(model.index(0, RuleModel::matches).data().toString(), QString("malformed"));
  QVERIFY(!bench_->plan());
  QVERIFY(!bench_->planError().isEmpty());
  bench_->undoStack().undo();
  QVERIFY(bench_->plan());
  model.remove({0, 2});
  QCOMPARE(model.rowCount(), 1);
  while (bench_->undoStack().canUndo())
    bench_->undoStack().undo();
  QCOMPARE(model.rowCount(), 0);
}

void GuiModelsTest::statistics_table() {
  StatisticsModel model;
  QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
  QCOMPARE(model.rowCount(), 0);
  auto statistics = std::make_shared<WeightStatistics>();
  statistics->moments.count = 4;
  statistics->moments.min = -2;
  model.set(statistics, nullptr);
  QCOMPARE(model.columnCount(), 2);
  QCOMPARE(model.index(1, 1).data().toString(), formatNumber(-2));
  model.set(statistics, statistics);
  QCOMPARE(model.columnCount(), 3);
}

void GuiModelsTest::selection_is_shared() {
  LayerPanel panel(*bench_);
  panel.resize(400, 600);
  panel.show();
  QAbstractItemModelTester tester(panel.filter(),
                                  QAbstractItemModelTester::FailureReportingMode::QtTest);
  bench_->select({"model.layers.1.mlp.up_proj", "lm_head"});
  QCOMPARE(panel.view()->selectionModel()->selectedRows().size(), 2);
  // A selected block selects its modules.
  const QModelIndex block =
      panel.filter()->mapFromSource(panel.model()->indexOf("model.layers.2.mlp.up_proj").parent());
  panel.view()->selectionModel()->setCurrentIndex(block, QItemSelectionModel::ClearAndSelect |
                                                             QItemSelectionModel::Rows);
  QCOMPARE(bench_->selection().size(), panel.model()->rowCount(panel.filter()->mapToSource(block)));
  QVERIFY(bench_->selection().contains("model.layers.2.self_attn.k_proj"));
}

void GuiModelsTest::csv() {
  LayerModel model(*bench_);
  const QString text = modelToCsv(model);
  QVERIFY(text.startsWith("Layer,"));
  QVERIFY(text.contains("self_attn.q_proj"));
  QCOMPARE(csvField("a,\"b\""), QString("\"a,\"\"b\"\"\""));
}

void GuiModelsTest::formats() {
  QCOMPARE(formatBytes(17), QString("17 B"));
  QCOMPARE(formatBytes(1024), QString("1.00 KiB"));
  QCOMPARE(formatBytes(std::uint64_t(14) << 30), QString("14.0 GiB"));
  QCOMPARE(formatBytes((std::uint64_t(1) << 20) - 1), QString("1.00 MiB"));
  QCOMPARE(formatCount(768), QString("768"));
  QCOMPARE(formatCount(7.24e9), QString("7.24 B"));
  QCOMPARE(formatNumber(0), QString("0"));
  QCOMPARE(formatNumber(0.012341), QString("0.01234"));
  QCOMPARE(formatNumber(-1.2e-7, 3), QString("−1.2e−7"));
  QCOMPARE(formatNumber(std::nan("")), QString("nan"));
  QCOMPARE(formatDuration(0.84), QString("0.8 s"));
  QCOMPARE(formatDuration(125), QString("2 min 05 s"));
  QCOMPARE(formatDuration(4340), QString("1 h 12 min"));
  QCOMPARE(formatDuration(-1), QString("–"));
  QCOMPARE(formatError(7.4132, 0.117), QString("7.41 ± 0.12"));
  QCOMPARE(formatPercent(0.125), QString("12.5 %"));
  QCOMPARE(formatShape({768, 256}), QString("768 × 256"));
}

void GuiModelsTest::ticks() {
  const auto ticks = niceTicks(-0.21, 0.33, 5);
  QVERIFY(ticks.size() >= 4 && ticks.size() <= 7);
  QVERIFY(ticks.front().value >= -0.21 && ticks.back().value <= 0.33);
  QVERIFY(niceTicks(1, 1, 5).empty());
  QVERIFY(niceTicks(0, std::numeric_limits<double>::infinity(), 5).empty());
  QCOMPARE(decadeTicks(1000).size(), std::size_t(4));
}

void GuiModelsTest::precision_palette_is_ordered() {
  // Readable without colour vision: lightness rises with the bits.
  double last = -1;
  for (const double bits : {2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 16.0, 32.0}) {
    const QColor color = precisionColor(bits);
    const double light = 0.299 * color.redF() + 0.587 * color.greenF() + 0.114 * color.blueF();
    QVERIFY2(light > last, qPrintable(QString::number(bits)));
    last = light;
  }
}

void GuiModelsTest::broken_plan_is_told() {
  LayerModel model(*bench_);
  Recipe recipe = bench_->recipe();
  recipe.default_scheme = "int9-nonsense";
  bench_->setRecipe(recipe, "nonsense");
  QVERIFY(!bench_->plan());
  QVERIFY(bench_->planError().contains("int9-nonsense"));
  const QModelIndex q = model.indexOf("model.layers.2.self_attn.q_proj");
  QVERIFY(!q.siblingAtColumn(int(TreeColumn::precision)).data().isValid());
  QVERIFY(!(model.flags(q.siblingAtColumn(int(TreeColumn::precision))) & Qt::ItemIsEditable));
}

QTEST_MAIN(GuiModelsTest)
#include "tst_gui_models.moc"
