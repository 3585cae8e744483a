// src/model/child_process.h - runs another program and waits for it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace regard::model {

/// Runs argv[0], found on PATH, its input empty, its output and errors in the file `log`. Ctrl-C
/// reaches the child, and this process survives to clean up. Returns the exit status. Throws
/// std::system_error when it cannot be started, std::runtime_error when a signal ended it.
int run_child(const std::vector<std::string>& argv, const std::filesystem::path& log);

}  // namespace regard::model
