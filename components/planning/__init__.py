"""What a recipe will take: parameters, tokens, FLOPs, memory, time and money, before anything is paid for."""
