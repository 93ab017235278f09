/** The paper exchange from source, with the synthetic symbols that the close needs; set up by PAPER_* variables. */
import { runPaperExchange } from "../src/demo/exchange/main.ts";

await runPaperExchange(process.env);
