# Copy the checkout to where the machine may change it. robocopy's exit codes below 8 are kinds of success.
# Usage: tree.ps1 FROM TO
param([Parameter(Mandatory = $true)][string]$From, [Parameter(Mandatory = $true)][string]$To)
$made = '.git', '.venv', '.vagrant', '.cache', '.mypy_cache', '.ruff_cache', '.pytest_cache', '__pycache__'
robocopy $From $To /E /NFL /NDL /NJH /NP /XD @made
exit [int]($LASTEXITCODE -ge 8)
