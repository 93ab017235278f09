/** A command on backups that is refused, with its exit code and what to do. */
export class BackupRefusal extends Error {
  readonly exitCode: number;
  readonly hint: string;

  constructor(message: string, exitCode: number, hint: string) {
    super(message);
    this.exitCode = exitCode;
    this.hint = hint;
  }
}
