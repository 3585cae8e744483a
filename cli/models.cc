// cli/models.cc - regard models: what models there are, and getting one.
#include "regard/model/models.h"

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/suggest.h"
#include "cli/terminal.h"
#include "cli/unicode.h"

namespace regard::cli {
namespace {

constexpr const char* kFooter = R"(
A known model is unpacked into ${XDG_CACHE_HOME:-~/.cache}/regard/models.
Models of the BERT family in the Hugging Face cache (HF_HOME) are found there.
regard look --model also takes any folder that holds config.json,
model.safetensors and tokenizer.json.

Examples:
  regard models
  regard models get minilm
)";

struct Row {
  std::string name, family, size, licence, place;
};

std::string megabytes(std::int64_t bytes) {
  return std::to_string((bytes + 500'000) / 1'000'000) + " MB";
}

/// Models that are here, then known ones that are not, with the line that gets them.
std::vector<Row> rows() {
  std::vector<Row> result{{"NAME", "FAMILY", "SIZE", "LICENCE", "PLACE"}};
  const auto found = model::found_models();
  for (const model::FoundModel& m : found) {
    result.push_back({m.name, m.family, megabytes(m.bytes), m.licence, m.folder.string()});
  }
  for (const model::KnownModel& m : model::known_models()) {
    if (std::ranges::find(found, m.name, &model::FoundModel::name) != found.end()) continue;
    result.push_back({m.name, m.family, megabytes(m.bytes), m.licence,
                      "not here; get it: regard models get " + m.name});
  }
  for (Row& row : result) {
    for (std::string* cell : {&row.name, &row.family, &row.licence, &row.place}) {
      *cell = printable(*cell);
    }
  }
  return result;
}

void list() {
  // A path is there to be copied, so lines may be longer than the terminal is wide.
  const Terminal unbounded{.width = 1 << 20, .colour = false, .unicode = true};
  const std::vector<Row> table = rows();
  int name = 0, family = 0, size = 0, licence = 0;
  for (const Row& row : table) {
    name = std::max(name, display_width(row.name));
    family = std::max(family, display_width(row.family));
    size = std::max(size, display_width(row.size));
    licence = std::max(licence, display_width(row.licence));
  }
  std::string text;
  for (const Row& row : table) {
    Line line(unbounded);
    line.add(row.name).pad_to(name + 2).add(row.family).pad_to(name + family + 4);
    line.add_right(row.size, name + family + size + 4).add("  ").add(row.licence);
    line.pad_to(name + family + size + licence + 8).add(row.place);
    text += line.str();
  }
  print(text);
}

void get(const std::string& name) {
  if (std::ranges::find(model::known_models(), name, &model::KnownModel::name) ==
      model::known_models().end()) {
    find_model(name);  // says what is wrong with a name that means nothing
    throw std::runtime_error(printable(name) + " is here already, only known models are fetched");
  }
  model::get_model(
      name, [](const std::string& line) { std::fprintf(stderr, "%s\n", printable(line).c_str()); });
}

}  // namespace

void models(std::span<const char* const> arguments) {
  std::string action, name;
  CLI::App app{"List the models that look can use, or get one.", "regard models"};
  app.footer(kFooter);
  app.add_option("ACTION", action, "get: fetch a known model by pip, SHA-256 checked")
      ->type_name("");
  app.add_option("NAME", name, "The model to get")->type_name("");
  if (!parse(app, arguments)) return;
  if (action.empty()) return list();
  if (action != "get" && action != "list") {
    const std::vector<std::string> actions{"get", "list"};
    throw UsageError("unknown action \"" + printable(action) + "\" of regard models, expected get" +
                     did_you_mean(action, actions));
  }
  if (action == "list") return list();
  if (name.empty()) throw UsageError("which model? Try: regard models get minilm");
  get(name);
}

}  // namespace regard::cli
