@"%~dp0..\.venv\Scripts\python.exe" "%~dp0mutation" %*
