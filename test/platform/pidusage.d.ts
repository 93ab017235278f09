/** The part of pidusage that is compared with; the package ships no types. */
declare module "pidusage" {
  export default function pidusage(pid: number): Promise<{ readonly memory: number }>;
}
