# Run the tests by the README's own command; its exit code is this one's.
# Usage: suite.ps1 [CHECKOUT]   (the current directory)
param([string]$Tree = '.')
Set-Location $Tree
python -m tests
exit $LASTEXITCODE
