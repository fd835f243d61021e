"""Repositories below a folder over HTTP, by git's own CGI program, and what Git LFS keeps of them (its batch API). What
is below /private/ wants a password."""
import base64, http.server, json, os, subprocess, sys

folder, address, port, login = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
expected = "Basic " + base64.b64encode(login.encode()).decode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def log_message(self, *_):
        pass

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        if path.startswith("/private/") and self.headers.get("Authorization") != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        repository, is_lfs, of_lfs = path.partition("/info/lfs/")
        if is_lfs:
            self.answer_lfs(repository, of_lfs, body)
            return
        variables = dict(
            os.environ,
            GIT_PROJECT_ROOT=folder,
            GIT_HTTP_EXPORT_ALL="1",
            PATH_INFO=path,
            QUERY_STRING=query,
            REQUEST_METHOD=self.command,
            CONTENT_TYPE=self.headers.get("Content-Type", ""),
            CONTENT_LENGTH=str(len(body)),
            GIT_PROTOCOL=self.headers.get("Git-Protocol", ""),
            HTTP_CONTENT_ENCODING=self.headers.get("Content-Encoding", ""),
            REMOTE_ADDR="127.0.0.1",
        )
        done = subprocess.run(["git", "http-backend"], input=body, stdout=subprocess.PIPE, env=variables)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        lines = [line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line]
        status = next((value for name, value in lines if name == "Status"), "200 OK")
        self.send_response(int(status.split()[0]))
        for name, value in lines:
            if name not in ("Status", "Content-Length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def answer_lfs(self, repository, path, body):
        """The addresses of objects, or one of them: all are in one folder, by their names."""
        kept = os.path.join(folder, ".lfs")
        if path != "objects/batch":
            with open(os.path.join(kept, os.path.basename(path)), "rb") as file:
                self.send(file.read(), "application/octet-stream")
            return
        objects = []
        for wanted in json.loads(body)["objects"]:
            if os.path.exists(os.path.join(kept, wanted["oid"])):
                href = f"http://{self.headers['Host']}{repository}/info/lfs/{wanted['oid']}"
                objects.append(dict(wanted, actions={"download": {"href": href}}))
            else:
                objects.append(dict(wanted, error={"code": 404, "message": "Object does not exist"}))
        answer = json.dumps({"transfer": "basic", "objects": objects})
        self.send(answer.encode(), "application/vnd.git-lfs+json")

    def send(self, content, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


server = http.server.ThreadingHTTPServer((address, port), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
