/** A certificate authority of the test's own, and certificates of it: made anew by openssl, valid for two days. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Certificates {
  /** Of the authority, PEM. */
  readonly ca: string;
  /** Of the server, PEM. */
  readonly cert: string;
  readonly key: string;
}

/** For a server with the given name or address, as `IP:127.0.0.1`. */
export function makeCertificates(name = "IP:127.0.0.1"): Certificates {
  const folder = mkdtempSync(join(tmpdir(), "certificates-"));
  const read = (file: string): string => readFileSync(join(folder, file), "utf8");
  const openssl = (...words: string[]): void => void execFileSync("openssl", words, { cwd: folder, stdio: "ignore" });
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  try {
    openssl(
      "req",
      "-x509",
      ...newKey,
      "-keyout",
      "ca.key",
      "-out",
      "ca.pem",
      "-days",
      "2",
      "-subj",
      "/CN=own authority",
    );
    openssl("req", ...newKey, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=store");
    writeFileSync(join(folder, "names"), `subjectAltName=${name}\n`);
    const signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"];
    openssl("x509", "-req", "-in", "request.pem", "-out", "cert.pem", ...signed);
    return { ca: read("ca.pem"), cert: read("cert.pem"), key: read("key.pem") };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
