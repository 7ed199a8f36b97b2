<?php
// The front controller: nginx hands every path to it.

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
header('Content-Type: text/plain');
header('X-Version: ' . getenv('SUBSTITUTE_COMMIT'));

if ($path === '/up') {
    // Look here at what the app cannot do without, such as its database.
    exit("the app is well\n");
}
if ($path === '/report') {
    // Stands for work that takes seconds. PHP's sleep() would return early on a signal.
    for ($end = microtime(true) + (float) ($_GET['seconds'] ?? 2); microtime(true) < $end;) {
        usleep(10000);
    }
}
echo $_SERVER['REQUEST_METHOD'] === 'POST' ? file_get_contents('php://input') : "hello from php-fpm\n";
