# What a developer's Windows has: Python, Node.js, git and Claude Code by npm; and WSL, still without a distribution.
# Needs an administrator, and afterwards a restart.
$ErrorActionPreference = 'Stop'
foreach ($id in 'Python.Python.3.13', 'OpenJS.NodeJS.LTS', 'Git.Git') {
  winget list --exact --id $id --accept-source-agreements | Out-Null
  if ($LASTEXITCODE -eq 0) { continue }
  winget install --exact --id $id --scope machine --silent --accept-package-agreements --accept-source-agreements
  if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
}
$env:Path += ";$env:ProgramFiles\nodejs"  # npm's own programs look for node, and this session's Path is older than it
& "$env:ProgramFiles\nodejs\npm.cmd" install --global --no-fund --no-audit '@anthropic-ai/claude-code'
if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
wsl --install --no-distribution --web-download
exit $LASTEXITCODE
