/** The shipped files as the bundler hands them over: their text. */
declare module "*.service" {
  const text: string;
  export default text;
}
declare module "*.timer" {
  const text: string;
  export default text;
}
declare module "*.conf" {
  const text: string;
  export default text;
}
declare module "*/config/logrotate/tradingbot" {
  const text: string;
  export default text;
}
